"""Examine an exported model as its users would: raw test pixels in, probabilities or values out.

model.onnx + data/raw (test part) -> metrics.json  predictions.parquet  confusion.csv
"""

import argparse
import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.base.files import replacing, write_json
from stages.data.datasets import (
    ARRAYS_FILE,
    DESCRIPTION_FILE,
    check_labels,
    open_part,
    read_description,
)
from stages.evaluate.metrics import AnyAnswers, answers_of, measure, prediction_table
from stages.inference.onnx_session import answer, open_model, task_in
from stages.model.tasks import Task

OUTPUTS = ("metrics.json", "predictions.parquet", "confusion.csv")
BATCH = 1000  # images at once: bounds memory, changes no result


def evaluate(model: Path, raw: Path, out: Path) -> dict[str, Any]:
    """Examine `model` on the test part in the folder `raw`; write all OUTPUTS to `out`, or none.

    Returns:
        The metrics.

    Raises:
        ModelError: the model cannot be read or does not fit the data.
        DataError: the data set is missing or not what it should be.
        OutputError: the folder is full, read-only, or not a folder.
    """
    description = read_description(raw / DESCRIPTION_FILE)
    answers, task = ask(model, raw / ARRAYS_FILE, description.classes)
    metrics = measure(answers, task)
    write(answers, metrics, task.names(description.class_names), out)
    return metrics


def ask(model: Path, data: Path, classes: int) -> tuple[AnyAnswers, Task]:
    """What `model` says of the test part of the data set `data`, read piece by piece, and its task.

    Raises:
        ModelError: the model cannot be read or does not fit the data.
        DataError: the data set is missing or not what it should be.
    """
    with open_part(data, "test") as (images, labels):
        check_labels("y_test", labels, classes)
        session = open_model(model, images.shape[1:], classes)
        pieces = [answer(session, model, pixels) for pixels in images.chunks(BATCH)]
    task = task_in(session, model)
    return answers_of(np.concatenate(pieces), labels, task, classes), task


def write(answers: AnyAnswers, metrics: dict[str, Any], class_names: Sequence[str], out: Path) -> None:
    """Write the OUTPUTS to the folder `out`, all or none.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(out / name)) for name in OUTPUTS}
        write_json(paths["metrics.json"], metrics)
        pq.write_table(prediction_table(answers), paths["predictions.parquet"])
        write_confusion(paths["confusion.csv"], answers, class_names)


def write_confusion(path: Path, answers: AnyAnswers, class_names: Sequence[str]) -> None:
    """Write the names of both classes of each sample, as DVC's confusion template reads them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("actual", "predicted"))
        for label, predicted in zip(answers.labels, answers.predicted, strict=True):
            lines.writerow((class_names[label], class_names[predicted]))


def main(argv: Sequence[str] | None = None) -> int:
    """Examine an exported model on the raw test images."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="what the train stage wrote")
    parser.add_argument("--raw", type=Path, required=True, help="what the download stage wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    given = parser.parse_args(argv)
    metrics = evaluate(given.model, given.raw, given.out)
    print("  ".join(f"{name} {value:.6g}" for name, value in metrics.items()), flush=True)
    return 0
