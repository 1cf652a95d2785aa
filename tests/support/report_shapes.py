"""Runs with invented predictions as input of the report: any number of models and classes, or values."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from stages.data.datasets import Arrays, describe, write_dataset
from tests.support.report_data import DIGITS, MNIST, Run, model_params, preparation, small_digits, write_json


def shaped_run(root: Path, models: int, classes: int, task: str = "multiclass", names: Any = None) -> Run:
    """Returns a run with invented predictions of 450 real images; accuracy falls from the first model to the last.

    Args:
        root: folder to write to.
        models: number of models.
        classes: number of classes, which all have the same number of images.
        task: task of all models.
        names: names of the classes.
    """
    run, random, arrays = Run(root), default_rng(0), digits_with_classes(classes)
    model_names = [f"model_{number:02}" for number in range(models)]
    settings: dict[str, Any] = {"task": task} | ({"positive": [1]} if task == "two_class" else {})
    write_json(
        root / "params.yaml",
        {
            "dataset": "digits",
            "datasets": {"mnist": MNIST, "digits": {**DIGITS, "title": "Shapes"}},
            "prepare": {},
            "models": {name: model_params(name, [16], 12) | settings for name in model_names},
            "report": {},
        },
    )
    write_dataset(root / "data/raw", arrays, describe("digits", run.params.dataset_params, arrays))
    run.edit("data/raw/dataset.json", stand_in_for=None, class_names=names or [f"class {n}" for n in range(classes)])
    prepared = preparation("digits", arrays, 1200, 147) | {"classes": classes}
    write_json(root / "data/prepared/prepared.json", prepared)
    for number, name in enumerate(model_names):
        accuracy = 0.97 - 0.02 * number
        write_training(root / "models" / name, task, accuracy, random)
        write_predictions = write_values if task == "regression" else write_classes
        write_predictions(root / "evaluation" / name, arrays.y_test, classes, accuracy, random)
    return run


def digits_with_classes(classes: int) -> Arrays:
    """Returns scikit-learn's digits with the labels 0 to `classes` - 1 in turn."""
    digits = small_digits()
    sizes = len(digits.y_train), len(digits.y_test)
    labels = [(np.arange(size) % classes).astype(np.uint8) for size in sizes]
    return digits._replace(y_train=labels[0], y_test=labels[1])


def write_training(folder: Path, task: str, accuracy: float, random: Generator) -> None:
    """Writes the files of the stage `train`."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(random.bytes(1000))
    falling = np.exp(-np.arange(12) / 4) + random.uniform(0, 0.05, 12)
    columns: dict[str, Any] = {"epoch": range(1, 13), "loss": falling, "val_loss": falling + 0.1}
    scores: dict[str, float] = {"loss": 1.2 - accuracy}
    if task != "regression":
        columns |= {"accuracy": 1 - falling / 2, "val_accuracy": 0.9 - falling / 2}
        scores["accuracy"] = min(1.0, accuracy + 0.02)
    else:
        columns |= {"mae": falling, "val_mae": falling + 0.1}
    pd.DataFrame(columns).to_csv(folder / "history.csv", index=False)
    environment = {
        "device": {"kind": "cpu", "name": "Test CPU"},
        "precision": "float32",
        "versions": {"keras": "3.15.0"},
    }
    facts = {"model": folder.name, "task": task, "parameters": 12345, "epochs": 12}
    write_json(folder / "training.json", facts | environment | {"train": scores, "validation": scores})


def write_classes(folder: Path, labels: np.ndarray, classes: int, accuracy: float, random: Generator) -> None:
    """Writes the files of the stage `evaluate` for a classifier with the expected `accuracy`."""
    wrong = random.random(len(labels)) > accuracy
    predicted = np.where(wrong, (labels + random.integers(1, classes, len(labels))) % classes, labels)
    probabilities = random.dirichlet(np.ones(classes), len(labels)) * 0.4
    probabilities[np.arange(len(labels)), predicted] += 0.6
    of_label = probabilities[np.arange(len(labels)), labels]
    table = {"index": np.arange(len(labels)), "label": labels.astype(int), "predicted": predicted}
    table |= {"probability": probabilities.max(axis=1), "loss": -np.log(of_label)}
    errors = int((predicted != labels).sum())
    folder.mkdir(parents=True)
    pd.DataFrame(table | {f"p{n}": probabilities[:, n] for n in range(classes)}).to_parquet(
        folder / "predictions.parquet"
    )
    scores = {"accuracy": (len(labels) - errors) / len(labels), "loss": float(-np.log(of_label).mean())}
    write_json(folder / "metrics.json", scores | {"errors": errors, "samples": len(labels)})


def write_values(folder: Path, labels: np.ndarray, classes: int, accuracy: float, random: Generator) -> None:
    """Writes the files of the stage `evaluate` for a regression with values around the labels."""
    values = labels + random.normal(0, 2 * (1 - accuracy) * classes, len(labels))
    nearest = np.clip(np.rint(values), 0, classes - 1).astype(int)
    table = {"index": np.arange(len(labels)), "label": labels.astype(int), "predicted": nearest}
    table |= {"value": values, "target": labels.astype(float), "loss": (values - labels) ** 2}
    folder.mkdir(parents=True)
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    write_json(folder / "metrics.json", {"loss": float(((values - labels) ** 2).mean()), "samples": len(labels)})
