"""A finished run as input of the report: real digits, real classifiers, and the files of the other stages."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from stages.data.datasets import Arrays, describe, write_dataset
from stages.report.config import ReportParams, load_report_params

HIDDEN_LAYERS = {"dense": (64,), "dense_small": (16,), "cnn": (64, 32)}
DIGITS = {"title": "Digits & co", "licence": "CC BY 4.0", "embedded": "digits", "stand_in_for": "mnist"}
MNIST = {
    "title": "MNIST",
    "url": "http://localhost/mnist.npz",
    "sha256": dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), "0" * 64),
}


class Run:
    """A project folder with params.yaml and all files that the report reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "reports"

    @property
    def params(self) -> ReportParams:
        """The present content of params.yaml."""
        return load_report_params(self.root / "params.yaml")

    def arguments(self) -> list[str]:
        """Returns the arguments of a report that reads this run and writes to `out`."""
        folders = ("data/raw", "data/prepared", "models", "evaluation")
        options = {f"--{Path(folder).name}": self.root / folder for folder in folders}
        options |= {"--out": self.out, "--params": self.root / "params.yaml"}
        return [str(part) for pair in options.items() for part in pair]

    def edit(self, name: str, **changes: Any) -> None:
        """Changes keys of a JSON file; params.yaml is one, too."""
        path = self.root / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def finish_run(
    root: Path, arrays: Arrays, hidden_layers: Mapping[str, Sequence[int]], dataset: str = "digits", epochs: int = 4
) -> Run:
    """Trains a perceptron for each item of `hidden_layers`, and writes the files of all stages to `root`."""
    run = Run(root)
    (root / ".dvc").mkdir(parents=True, exist_ok=True)  # marks the folder as a project for the commands
    params = {
        "dataset": dataset,
        "datasets": {"mnist": MNIST, "digits": DIGITS},
        "prepare": {"normalise": "unit"},
        "models": {name: model_params(name, layers, epochs) for name, layers in hidden_layers.items()},
        "report": {},
    }
    write_json(root / "params.yaml", params)
    write_dataset(root / "data/raw", arrays, describe(dataset, run.params.dataset_params, arrays))
    x, x_validation, y, y_validation = train_test_split(arrays.x_train, arrays.y_train, test_size=0.1, random_state=0)
    write_json(root / "data/prepared/prepared.json", preparation(dataset, arrays, len(x), len(x_validation)))
    for name, layers in hidden_layers.items():
        parts = (flatten(x), y), (flatten(x_validation), y_validation)
        network = train_network(root / "models" / name, layers, epochs, *parts)
        evaluate_network(root / "evaluation" / name, network, arrays)
    return run


def small_digits() -> Arrays:
    """Returns scikit-learn's 8x8 digits: 1,347 training and 450 test images."""
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    x, x_test, y, y_test = train_test_split(images, digits.target.astype(np.uint8), test_size=0.25, random_state=0)
    return Arrays(x, y, x_test, y_test)


def model_params(name: str, layers: Sequence[int], epochs: int) -> dict[str, Any]:
    """Returns the section of params.yaml for one model."""
    network: dict[str, Any] = {"network": "dense"}
    if name.startswith("cnn"):
        network = {"network": "cnn", "filters": [32, 64]}
    return {
        **network, "units": list(layers), "optimizer": {"name": "adam"}, "batch_size": 32, "epochs": epochs
    }  # fmt: skip


def preparation(dataset: str, arrays: Arrays, train: int, validation: int) -> dict[str, Any]:
    """Returns the content of prepared.json."""
    height, width = arrays.x_train.shape[1:3]
    return {
        "dataset": dataset,
        "classes": 10,
        "raw_shape": [height, width],
        "shape": [height, width, 1],
        "crop": {"top": 0, "bottom": 0, "left": 0, "right": 0},
        "normalise": "unit",
        "offset": 0.0,
        "scale": 255.0,
        "samples": {"train": train, "validation": validation},
        "validation_seed": 0,
    }


Part = tuple[NDArray[Any], NDArray[Any]]
_learned: dict[tuple[Any, ...], tuple[MLPClassifier, list[dict[str, float]]]] = {}  # the same ones for many modules


def train_network(folder: Path, layers: Sequence[int], epochs: int, train: Part, validation: Part) -> MLPClassifier:
    """Trains a perceptron, and writes the files of the stage `train`."""
    key = (tuple(layers), epochs, *(part.tobytes() for part in (*train, *validation)))
    if key not in _learned:
        _learned[key] = learn(layers, epochs, train, validation)
    network, rows = _learned[key]
    folder.mkdir(parents=True)
    for name in ("model.keras", "model.onnx"):
        (folder / name).write_bytes(b"".join(part.tobytes() for part in network.coefs_))
    pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    last = rows[-1]
    write_json(
        folder / "training.json",
        {
            "model": folder.name,
            "network": "dense",
            "parameters": sum(part.size for part in (*network.coefs_, *network.intercepts_)),
            "epochs": epochs,
            "device": {"kind": "cpu", "name": "Test CPU"},
            "precision": "float32",
            "threads": 2,
            "versions": {"keras": "3.15.0", "backend": "tensorflow 2.21.0"},
            "train": {"loss": last["loss"], "accuracy": last["accuracy"]},
            "validation": {"loss": last["val_loss"], "accuracy": last["val_accuracy"]},
            "samples": {"train": len(train[0]), "validation": len(validation[0])},
        },
    )
    return network


def learn(
    layers: Sequence[int], epochs: int, train: Part, validation: Part
) -> tuple[MLPClassifier, list[dict[str, float]]]:
    """Returns a perceptron that was trained epoch by epoch, and the rows of its history."""
    network, rows = MLPClassifier(layers, batch_size=32, random_state=0), []
    for epoch in range(1, epochs + 1):
        network.partial_fit(*train, classes=range(10))
        scores = {**score(network, train, ""), **score(network, validation, "val_")}
        rows.append({"epoch": epoch, **scores})
    return network, rows


def evaluate_network(folder: Path, network: MLPClassifier, arrays: Arrays) -> None:
    """Writes the files of the stage `evaluate`."""
    probabilities = network.predict_proba(flatten(arrays.x_test)).astype(np.float32)
    labels = arrays.y_test.astype(np.int32)
    predicted = probabilities.argmax(axis=1).astype(np.int32)
    losses = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1))
    wrong = int((predicted != labels).sum())
    write_json(
        folder / "metrics.json",
        {
            "accuracy": (len(labels) - wrong) / len(labels),
            "loss": float(losses.mean()),
            "errors": wrong,
            "samples": len(labels),
        },
    )
    table = {"index": np.arange(len(labels), dtype=np.int32), "label": labels, "predicted": predicted}
    table |= {"probability": probabilities.max(axis=1), "loss": losses}
    table |= {f"p{digit}": probabilities[:, digit] for digit in range(10)}
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    with (folder / "confusion.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("actual", "predicted"), *zip(labels, predicted, strict=True)])


def score(network: MLPClassifier, part: Part, prefix: str) -> dict[str, float]:
    """Returns loss and accuracy on one part, by their columns in history.csv."""
    loss = log_loss(part[1], network.predict_proba(part[0]))
    return {f"{prefix}loss": float(loss), f"{prefix}accuracy": float(network.score(*part))}


def flatten(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the pixels as input of a network, float32 (n, h * w) in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file and the missing folders of its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
