"""The outputs of a training: the Keras and ONNX files of the network, its history, and a summary of the training."""

import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras

from stages.base.files import replacing, replacing_folder, write_json
from stages.model.config import CustomModel, Model
from stages.model.metrics_config import further_metrics
from stages.samples.prepared import TrainingData
from stages.train import fingerprint
from stages.train.augmentation.test_time import with_test_time_augmentation
from stages.train.custom.network import float32_network
from stages.train.device import Device, Precision
from stages.train.doubt.measurement import MeasuredDoubt, measure_doubt
from stages.train.early_stopping import best_epoch
from stages.train.export import model_files, onnx_subprocess
from stages.train.fit import score
from stages.train.live_history import HISTORY, OUTPUTS, write_history
from stages.train.losses import metric_name
from stages.train.machine_settings import remaining_settings
from stages.train.networks import float32_copy
from stages.train.progress import Epoch, columns

VALIDATION = "validation.json"  # the validation scores, which choose models and recipes, as metrics of DVC
SEEDS = "seeds"  # folder with a folder of the OUTPUTS for each seed; empty for a model with one seed
CHECKED_SAMPLES = 1000  # validation samples on which the exported model must agree with the trained one


def inference_network(network: Any, model: Model, data: TrainingData, precision: Precision) -> Any:
    """Returns the network to export: the trained weights in float32, with the model's test-time augmentation, if any.

    Raises:
        InkflowError: the float32 network differs too much from the one trained in bfloat16.
    """
    if isinstance(model, CustomModel):
        exported = float32_network(network, model, data.prepared.shape, data.prepared.classes)
    else:
        exported = float32_copy(network)
    if precision != "float32":
        model_files.check_rounding(network, exported, data.held_out_images(CHECKED_SAMPLES))
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
        **({"output": model.output} if isinstance(model, CustomModel) else {}),
        "parameters": network.count_params(),
        "epochs": len(history),
        "kept_epoch": kept_epoch(model, history),
        "device": {"kind": device.kind, "name": device.name},
        "threads": device.threads,
        "precision": precision,
        "versions": {"keras": keras.__version__, "backend": f"{backend} {fingerprint.package_versions()[backend]}"},
        **({"environment": environment} if environment else {}),
        **{
            key: score(network, part, model, data.prepared.classes) if len(part.labels) else None
            for key, part in parts.items()
        },
        "samples": {key: len(part.labels) for key, part in parts.items()},
        **({"calibration": doubt.calibration.record()} if doubt else {}),
    }


def layer_table(network: Any) -> dict[str, Any]:
    """Returns the rows of Keras's `summary` of `network`, without the views of test-time augmentation."""
    return {
        "layers": [
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "shape": _output_shape(layer),
                "parameters": layer.count_params(),
            }
            for layer in network.layers
        ],
        "trainable_parameters": sum(math.prod(weight.shape) for weight in network.trainable_weights),
    }


def _output_shape(layer: Any) -> list[int | None] | None:
    """Returns the shape of a layer's output; None where it has several."""
    try:
        return list(layer.output.shape)
    except (AttributeError, ValueError):  # outputs in a list, or of more than one call
        return None


def kept_epoch(model: Model, history: Sequence[Epoch]) -> int:
    """Returns the epoch, from 1, whose weights were kept."""
    return best_epoch([epoch.val_loss for epoch in history]) + 1 if model.keep == "best" else len(history)


def history_columns(model: Model) -> tuple[str, ...]:
    """Returns the names of the columns of history.csv."""
    return columns(metric_name(model), further_metrics(model.metrics))


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

    The ONNX model has no unlikeness, with a warning on standard error, if that does not agree.

    Raises:
        InkflowError: the ONNX model differs from `network`.
        OutputError: the folder is full, read-only, or not a folder.
    """
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(out / name)) for name in OUTPUTS}
        model_files.save_keras(network, paths["model.keras"])
        try:
            _write_onnx(network, model, data, paths, doubt)
        except model_files.UnlikenessDiffers as error:
            print(
                f"warning: {summary['model']}: {error}, so the model is exported without it; the last hidden layer "
                "hardly tells the samples apart: has the network learnt?",
                file=sys.stderr,
                flush=True,
            )
            _write_onnx(network, model, data, paths, measure_doubt(network, model, data, has_unlikeness=False))
        write_history(paths[HISTORY], history, history_columns(model))
        write_json(paths["training.json"], summary)


def _write_onnx(
    network: Any, model: Model, data: TrainingData, paths: Mapping[str, Path], doubt: MeasuredDoubt | None
) -> None:
    """Writes the ONNX model to one of the `paths`, which have the Keras model, and checks that it agrees."""
    path, prepared = paths["model.onnx"], data.prepared
    if keras.backend.backend() == "tensorflow":
        model_files.save_onnx(network, prepared, model, path, doubt)
    else:
        onnx_subprocess.save_onnx(paths["model.keras"], prepared, model, path, doubt and doubt.to_json())
    model_files.check_agreement(network, path, data.held_out_images(CHECKED_SAMPLES), prepared, model, doubt)


def copy_model(files: Mapping[str, Path], summary: dict[str, Any], out: Path) -> None:
    """Writes all OUTPUTS to the folder `out`, or none: copies of `files`, by name, and the `summary`.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    with ExitStack() as pending:
        for name in OUTPUTS:
            path = pending.enter_context(replacing(out / name))
            if name == "training.json":
                write_json(path, summary)
            else:
                shutil.copyfile(files[name], path)


def write_validation(out: Path, scores: Mapping[str, float] | None, deviation: float | None = None) -> None:
    """Writes VALIDATION to the folder `out`: loss and metric of `scores`, and the loss's `deviation` between seeds.

    Without validation samples there are no scores, and the file has no metric.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    content = {f"validation_{name}": scores[name] for name in list(scores)[:2]} if scores else {}
    spread = {} if deviation is None else {"validation_loss_deviation": deviation}
    write_json(out / VALIDATION, content | spread)


def write_seeds(out: Path, seeds: Mapping[int, Mapping[str, Path]]) -> None:
    """Writes the folder SEEDS in the folder `out`: a folder for each of the `seeds`, with copies of its files.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    with replacing_folder(out / SEEDS) as folder:
        for seed, files in seeds.items():
            (folder / str(seed)).mkdir()
            for name in OUTPUTS:
                shutil.copyfile(files[name], folder / str(seed) / name)
