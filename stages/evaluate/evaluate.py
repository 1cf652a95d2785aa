"""Evaluates an exported model as its users run it: raw test samples in, probabilities or values out.

model.onnx + seeds + data/raw (test part) -> metrics.json  predictions.parquet  confusion.csv
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.base.errors import ModelError
from stages.base.files import replacing, write_json
from stages.base.sample_kinds import Kind
from stages.data.datasets import (
    ARRAYS_FILE,
    DESCRIPTION_FILE,
    check_labels,
    open_part,
    read_description,
)
from stages.evaluate.metrics import Predictions, compute_metrics, make_predictions, prediction_table
from stages.inference.onnx_session import open_model, predict, read_task
from stages.model.tasks import Task

OUTPUTS = ("metrics.json", "predictions.parquet", "confusion.csv")
BATCH = 1000  # images; bounds memory, does not affect results


def evaluate(model: Path, raw: Path, out: Path, seeds: Path | None = None) -> dict[str, Any]:
    """Evaluates `model` on the test part in the folder `raw`; writes all OUTPUTS to `out`, or none.

    The predictions get a column for each model in the folder `seeds`; see `seed_models`.

    Returns:
        The metrics.

    Raises:
        ModelError: the model cannot be read or does not fit the data.
        DataError: the data set is missing or invalid.
        OutputError: the folder is full, read-only, or not a folder.
    """
    description = read_description(raw / DESCRIPTION_FILE)
    data, classes, kind = raw / ARRAYS_FILE, description.classes, description.kind
    predictions, task = predict_test_part(model, data, classes, kind)
    metrics = compute_metrics(predictions, task)
    by_seed = {seed: predict_test_part(path, data, classes, kind)[0] for seed, path in seed_models(seeds).items()}
    write_outputs(predictions, metrics, task.class_names(description.class_names), out, by_seed)
    return metrics


def seed_models(folder: Path | None) -> dict[int, Path]:
    """Returns the model of each seed in the folder `seeds` of a training, by seed: `folder/SEED/model.onnx`.

    Raises:
        ModelError: there is no such folder.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise ModelError(f"{folder}: not found; train the model again: python -m stages.train")
    seeds = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    return {seed: folder / str(seed) / "model.onnx" for seed in seeds}


def predict_test_part(model: Path, data: Path, classes: int, kind: Kind = "image") -> tuple[Predictions, Task]:
    """Returns the predictions of `model` for the test part of `data`, which is read batch by batch, and its task.

    Raises:
        ModelError: the model cannot be read or does not fit the data.
        DataError: the data set is missing or invalid.
    """
    with open_part(data, "test", kind) as (images, labels):
        check_labels("y_test", labels, classes)
        session = open_model(model, images.shape[1:], classes)
        outputs = [predict(session, model, pixels) for pixels in images.chunks(BATCH)]
    task = read_task(session, model)
    return make_predictions(np.concatenate(outputs), labels, task, classes), task


def write_outputs(
    predictions: Predictions,
    metrics: dict[str, Any],
    class_names: Sequence[str],
    out: Path,
    by_seed: Mapping[int, Predictions] | None = None,
) -> None:
    """Writes the OUTPUTS to the folder `out`, all or none; `by_seed` are the predictions of each seed.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(out / name)) for name in OUTPUTS}
        write_json(paths["metrics.json"], metrics)
        pq.write_table(prediction_table(predictions, by_seed), paths["predictions.parquet"])
        write_confusion(paths["confusion.csv"], predictions, class_names)


def write_confusion(path: Path, predictions: Predictions, class_names: Sequence[str]) -> None:
    """Writes the names of the actual and the predicted class of each sample, for DVC's confusion template."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("actual", "predicted"))
        for label, predicted in zip(predictions.labels, predictions.predicted, strict=True):
            lines.writerow((class_names[label], class_names[predicted]))


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates an exported model on the raw test images."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model.onnx of the train stage")
    parser.add_argument("--seeds", type=Path, help="folder `seeds` of the train stage; default: none")
    parser.add_argument("--raw", type=Path, required=True, help="folder with the outputs of the download stage")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)
    metrics = evaluate(arguments.model, arguments.raw, arguments.out, arguments.seeds)
    print("  ".join(f"{name} {value:.6g}" for name, value in metrics.items()), flush=True)
    return 0
