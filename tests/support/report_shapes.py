"""Runs of many shapes for the report: as many models and classes as asked for, or values instead of classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from stages.data.datasets import Arrays, describe, write_dataset
from tests.support.report_data import DIGITS, MNIST, Run, model_settings, prepared_card, small_digits, write


def shaped_run(root: Path, models: int, classes: int, task: str = "multiclass", names: Any = None) -> Run:
    """A run of `models` with made-up answers on 450 real images, labelled evenly with `classes`; the first is best."""
    run, random, arrays = Run(root), default_rng(0), labelled(classes)
    called = [f"model_{number:02}" for number in range(models)]
    write(
        root / "params.yaml",
        {
            "dataset": "digits",
            "datasets": {"mnist": MNIST, "digits": {**DIGITS, "title": "Shapes"}},
            "prepare": {},
            "models": {name: model_settings(name, [16], 12) | {"task": task} for name in called},
            "report": {},
        },
    )
    about = describe("digits", run.params.chosen, arrays)
    write_dataset(root / "data/raw", arrays, about)
    run.edit("data/raw/dataset.json", stand_in_for=None, class_names=names or [f"class {n}" for n in range(classes)])
    write(root / "data/prepared/prepared.json", prepared_card("digits", arrays, 1200, 147) | {"classes": classes})
    for number, name in enumerate(called):
        accuracy = 0.97 - 0.02 * number
        train(root / "models" / name, task, accuracy, random)
        answer = give_values if task == "regression" else name_classes
        answer(root / "evaluation" / name, arrays.y_test, classes, accuracy, random)
    return run


def labelled(classes: int) -> Arrays:
    """scikit-learn's digits with other labels: 0 to `classes` - 1 in turn."""
    digits = small_digits()
    sizes = len(digits.y_train), len(digits.y_test)
    labels = [(np.arange(size) % classes).astype(np.uint8) for size in sizes]
    return digits._replace(y_train=labels[0], y_test=labels[1])


def train(folder: Path, task: str, accuracy: float, random: Generator) -> None:
    """Leave what the train stage does."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(random.bytes(1000))
    falling = np.exp(-np.arange(12) / 4) + random.uniform(0, 0.05, 12)
    columns: dict[str, Any] = {"epoch": range(1, 13), "loss": falling, "val_loss": falling + 0.1}
    scores: dict[str, float] = {"loss": 0.2}
    if task != "regression":
        columns |= {"accuracy": 1 - falling / 2, "val_accuracy": 0.9 - falling / 2}
        scores["accuracy"] = min(1.0, accuracy + 0.02)
    else:
        columns |= {"mae": falling, "val_mae": falling + 0.1}
    pd.DataFrame(columns).to_csv(folder / "history.csv", index=False)
    made = {"device": {"kind": "cpu", "name": "Test CPU"}, "precision": "float32", "versions": {"keras": "3.15.0"}}
    about = {"model": folder.name, "task": task, "parameters": 12345, "epochs": 12}
    write(folder / "training.json", about | made | {"train": scores, "validation": scores})


def name_classes(folder: Path, labels: np.ndarray, classes: int, accuracy: float, random: Generator) -> None:
    """Leave the examination of a classifier that is right with the chance `accuracy`."""
    wrong = random.random(len(labels)) > accuracy
    said = np.where(wrong, (labels + random.integers(1, classes, len(labels))) % classes, labels)
    probabilities = random.dirichlet(np.ones(classes), len(labels)) * 0.4
    probabilities[np.arange(len(labels)), said] += 0.6
    of_label = probabilities[np.arange(len(labels)), labels]
    table = {"index": np.arange(len(labels)), "label": labels.astype(int), "predicted": said}
    table |= {"probability": probabilities.max(axis=1), "loss": -np.log(of_label)}
    errors = int((said != labels).sum())
    folder.mkdir(parents=True)
    pd.DataFrame(table | {f"p{n}": probabilities[:, n] for n in range(classes)}).to_parquet(
        folder / "predictions.parquet"
    )
    scores = {"accuracy": 1 - errors / len(labels), "loss": float(-np.log(of_label).mean())}
    write(folder / "metrics.json", scores | {"errors": errors, "samples": len(labels)})


def give_values(folder: Path, labels: np.ndarray, classes: int, accuracy: float, random: Generator) -> None:
    """Leave the examination of a model that gives values around the labels."""
    values = labels + random.normal(0, 2 * (1 - accuracy) * classes, len(labels))
    nearest = np.clip(np.rint(values), 0, classes - 1).astype(int)
    table = {"index": np.arange(len(labels)), "label": labels.astype(int), "predicted": nearest}
    table |= {"value": values, "target": labels.astype(float), "loss": (values - labels) ** 2}
    folder.mkdir(parents=True)
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    write(folder / "metrics.json", {"loss": float(((values - labels) ** 2).mean()), "samples": len(labels)})
