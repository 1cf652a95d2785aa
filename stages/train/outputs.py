"""The outputs of a training: the Keras and ONNX files of the network, its history, and a summary of the training."""

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
from stages.train.doubt.measurement import MeasuredDoubt
from stages.train.early_stopping import best_epoch
from stages.train.export import model_files, onnx_subprocess
from stages.train.fit import score
from stages.train.losses import metric_name
from stages.train.machine_settings import remaining_settings
from stages.train.networks import float32_copy
from stages.train.progress import Epoch, columns
from stages.train.test_time_augmentation import with_test_time_augmentation

OUTPUTS = ("model.keras", "model.onnx", "history.csv", "training.json")
CHECKED_SAMPLES = 1000  # validation samples on which the exported model must agree with the trained one


def inference_network(network: Any, model: Model, data: TrainingData, precision: Precision) -> Any:
    """Returns the network to export: the trained weights in float32, with the model's test-time augmentation, if any.

    Raises:
        InkflowError: the float32 network differs too much from the one trained in bfloat16.
    """
    exported = float32_copy(network)
    if precision != "float32":
        model_files.check_rounding(network, exported, data.validation.images[:CHECKED_SAMPLES])
    augmentation = model.test_time_augmentation
    return with_test_time_augmentation(exported, augmentation) if augmentation else exported


def training_summary(
    network: Any,
    name: str,
    model: Model,
    data: TrainingData,
    device: Device,
    precision: str,
    history: Sequence[Epoch],
    doubt: MeasuredDoubt | None = None,
) -> dict[str, Any]:
    """Returns the content of training.json: model, device, versions, and the scores of the exported `network`.

    The scores are those of the network itself, without its temperature.
    """
    parts = {"train": data.train, "validation": data.validation}
    backend, environment = keras.backend.backend(), remaining_settings()
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
        "versions": {"keras": keras.__version__, "backend": f"{backend} {fingerprint.package_versions()[backend]}"},
        **({"environment": environment} if environment else {}),
        **{key: score(network, part, model, data.prepared.classes) for key, part in parts.items()},
        "samples": {key: len(part.labels) for key, part in parts.items()},
        **({"calibration": doubt.calibration.record()} if doubt else {}),
    }


def kept_epoch(model: Model, history: Sequence[Epoch]) -> int:
    """Returns the epoch, from 1, whose weights were kept."""
    return best_epoch([epoch.val_loss for epoch in history]) + 1 if model.keep == "best" else len(history)


def write_outputs(
    network: Any,
    model: Model,
    data: TrainingData,
    history: Iterable[Epoch],
    summary: dict[str, Any],
    out: Path,
    doubt: MeasuredDoubt | None = None,
) -> None:
    """Writes all OUTPUTS to the folder `out`, or none, and checks that the ONNX model agrees with `network`.

    Raises:
        InkflowError: the ONNX model differs from `network`.
        OutputError: the folder is full, read-only, or not a folder.
    """
    images = data.validation.images[:CHECKED_SAMPLES]
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(out / name)) for name in OUTPUTS}
        model_files.save_keras(network, paths["model.keras"])
        if keras.backend.backend() == "tensorflow":
            model_files.save_onnx(network, data.prepared, model, paths["model.onnx"], doubt)
        else:
            facts = doubt and doubt.to_json()
            onnx_subprocess.save_onnx(paths["model.keras"], data.prepared, model, paths["model.onnx"], facts)
        model_files.check_agreement(network, paths["model.onnx"], images, data.prepared, model, doubt)
        write_history(paths["history.csv"], history, metric_name(model))
        write_json(paths["training.json"], summary)


def write_history(path: Path, history: Iterable[Epoch], metric: str) -> None:
    """Writes history.csv, one line per epoch; `metric` is the name of the model's metric."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns(metric))
        lines.writerows(history)
