"""What a training writes: the network that ships, how it was trained, and how well it does."""

import csv
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras

from stages.base.files import replacing, write_json
from stages.model.config import Model
from stages.samples.prepared import TrainingData
from stages.train import fingerprint
from stages.train.device import Device, Precision
from stages.train.early_stopping import best_epoch
from stages.train.export import model_files, onnx_subprocess
from stages.train.fit import score
from stages.train.losses import metric_name
from stages.train.networks import float32_copy
from stages.train.progress import Epoch, columns
from stages.train.test_time_augmentation import with_views

OUTPUTS = ("model.keras", "model.onnx", "history.csv", "training.json")
COMPARED = 1000  # validation samples on which the export must agree with what was trained


def shipped_network(network: Any, model: Model, data: TrainingData, precision: Precision) -> Any:
    """The network that ships: the trained weights in float32, with test-time augmentation where the model has it.

    Raises:
        InkflowError: in float32 it does not do what was trained in bfloat16.
    """
    shipped = float32_copy(network)
    if precision != "float32":
        model_files.check_rounding(network, shipped, data.validation.images[:COMPARED])
    return with_views(shipped, model.test_time_augmentation) if model.test_time_augmentation else shipped


def record(
    network: Any,
    name: str,
    model: Model,
    data: TrainingData,
    device: Device,
    precision: str,
    history: Sequence[Epoch],
) -> dict[str, Any]:
    """Content of fit.json: what was trained, with what, and how well what ships does, dropout off."""
    parts = {"train": data.train, "validation": data.validation}
    backend = keras.backend.backend()
    return {
        "model": name,
        "task": model.task,
        "network": model.network,
        "parameters": network.count_params(),
        "epochs": len(history),
        "kept_epoch": kept_epoch(model, history),
        "device": {"kind": device.kind, "name": device.name},
        "threads": device.threads,
        "precision": precision,
        "versions": {"keras": keras.__version__, "backend": f"{backend} {fingerprint.versions()[backend]}"},
        **{key: score(network, part, model, data.prepared.classes) for key, part in parts.items()},
        "samples": {key: len(part.labels) for key, part in parts.items()},
    }


def kept_epoch(model: Model, history: Sequence[Epoch]) -> int:
    """The epoch, from 1, after which the weights are those that were kept."""
    return best_epoch([epoch.val_loss for epoch in history]) + 1 if model.keep == "best" else len(history)


def write(
    network: Any,
    model: Model,
    data: TrainingData,
    history: Iterable[Epoch],
    facts: dict[str, Any],
    out: Path,
) -> None:
    """Write all OUTPUTS to the folder `out`, or none; the export must do what `network` does.

    Raises:
        InkflowError: the exported model does not do what the trained one does.
        OutputError: the folder is full, read-only, or not a folder.
    """
    images = data.validation.images[:COMPARED]
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(out / name)) for name in OUTPUTS}
        model_files.save_keras(network, paths["model.keras"])
        if keras.backend.backend() == "tensorflow":
            model_files.save_onnx(network, data.prepared, model, paths["model.onnx"])
        else:
            onnx_subprocess.save_onnx(paths["model.keras"], data.prepared, model, paths["model.onnx"])
        model_files.check_agreement(network, paths["model.onnx"], images, data.prepared, model)
        write_history(paths["history.csv"], history, metric_name(model))
        write_json(paths["training.json"], facts)


def write_history(path: Path, history: Iterable[Epoch], metric: str) -> None:
    """Write one line an epoch; `metric` is the name of what was watched beside the loss."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns(metric))
        lines.writerows(history)
