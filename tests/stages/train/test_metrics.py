"""Metrics beside loss and accuracy: values, columns, scores, and refusals."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics as oracle

from stages.base.validation_messages import error_messages
from stages.model.config import Model
from stages.model.feasibility import feasibility_errors
from stages.train.training import main
from tests.support.learning import Folders, make_model, settings, write_params

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks  # noqa: E402  (import Keras)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

CLASSIFIER = ["precision", "recall", "auc", "f1_score", "top_k_categorical_accuracy", "categorical_crossentropy"]


def train(folders: Folders, tmp_path: Path, **changes: Any) -> Path:
    """Trains a dense model by the stage's program and returns the folder of its outputs."""
    params, out = write_params(tmp_path / "params.yaml", tried=settings(**changes)), tmp_path / "out"
    paths = {"--data": folders.prepared, "--out": out, "--checkpoints": tmp_path / "checkpoints", "--params": params}
    assert main(["--model", "tried", *(str(part) for option in paths.items() for part in option)]) == 0
    return out


def scored(folders: Folders, **changes: Any) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Returns the validation scores of an untrained network, its raw outputs (n, k), and the labels (n,)."""
    model, part = make_model(**changes), folders.data.validation
    network = networks.build(model, folders.data.prepared.shape, 4)
    outputs = np.asarray(network(part.images[:]), np.float64)
    return fit.score(network, part, model, 4), outputs, part.labels


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        ("sparse_categorical_crossentropy", "softmax"),
        ("categorical_crossentropy", "logits"),
        ("hinge", "logits"),
        ("kl_divergence", "softmax"),
    ],
)
def test_metrics_of_classes(folders: Folders, loss: str, output: str) -> None:
    """The metrics are those of scikit-learn on probabilities and one-hot labels, for any loss, encoding and output."""
    names = [*CLASSIFIER, "true_positives"]
    scores, outputs, labels = scored(folders, loss=loss, output=output, metrics=names, top_k=2)
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True)) if output == "logits" else outputs
    chances = powers / powers.sum(axis=1, keepdims=True)
    truth, chosen = np.eye(4)[labels], chances > 0.5
    expected = {
        "precision": oracle.precision_score(truth, chosen, average="micro", zero_division=0),
        "recall": oracle.recall_score(truth, chosen, average="micro"),
        "auc": oracle.roc_auc_score(truth.ravel(), chances.ravel()),
        "f1_score": oracle.f1_score(labels, chances.argmax(axis=1), average="macro"),
        "top_k_categorical_accuracy": oracle.top_k_accuracy_score(labels, chances, k=2),
        "categorical_crossentropy": oracle.log_loss(labels, chances),
        "true_positives": (truth * chosen).sum(),
    }
    assert {name: scores[name] for name in names} == pytest.approx(expected, abs=0.01)


@pytest.mark.cases(1)
@pytest.mark.parametrize(("loss", "output"), [("binary_crossentropy", "sigmoid"), ("hinge", "logits")])
def test_metrics_of_two_classes(folders: Folders, loss: str, output: str) -> None:
    """Precision, recall and F1 of a two-class model are those of its positive class at a probability of 0.5."""
    changes = {"task": "two_class", "positive": [1, 3], "loss": loss, "output": output}
    scores, outputs, labels = scored(folders, metrics=["precision", "recall", "f1_score"], **changes)
    truth, chosen = np.isin(labels, [1, 3]), outputs[:, 0] > (0.0 if output == "logits" else 0.5)
    figures = (oracle.precision_score, oracle.recall_score, oracle.f1_score)
    expected = [figure(truth, chosen, zero_division=0) for figure in figures]
    assert [scores[name] for name in ("precision", "recall", "f1_score")] == pytest.approx(expected, abs=1e-5)


def test_metrics_of_values(folders: Folders) -> None:
    """The metrics of a regression are those of scikit-learn."""
    names = ["mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2_score"]
    scores, outputs, labels = scored(folders, task="regression", metrics=names)
    squared = oracle.mean_squared_error(labels, outputs)
    expected = [oracle.mean_absolute_error(labels, outputs), squared, squared**0.5, oracle.r2_score(labels, outputs)]
    assert [scores[name] for name in ("mae", *names[1:])] == pytest.approx(expected, rel=1e-4)


@pytest.mark.farm
def test_history_and_scores_have_the_metrics(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics are columns of history.csv, words of the epoch's line, and scores in training.json."""
    out = train(folders, tmp_path, metrics=["accuracy", "recall", "auc"])
    lines = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    known = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(lines[0]) == [*known, "recall", "auc", "val_recall", "val_auc"]
    summary = json.loads((out / "training.json").read_text())
    assert list(summary["validation"]) == ["loss", "accuracy", "recall", "auc"]
    assert summary["validation"]["auc"] == pytest.approx(float(lines[-1]["val_auc"]), abs=1e-5)
    assert "  val_auc " in capsys.readouterr().out


REFUSED: dict[str, dict[str, Any]] = {
    r"metrics.0: got 'precison', expected one of .*; did you mean 'precision'\?": {"metrics": ["precison"]},
    r"`metrics` has mean_squared_error, .* `task: multiclass`: .* choose from accuracy": {
        "metrics": ["mean_squared_error"]
    },
    r"`metrics` has top_k_cat.* `task: two_class`: it needs one output per class": {
        "task": "two_class",
        "positive": [1],
        "metrics": ["top_k_categorical_accuracy"],
    },
    r"`metrics` has recall, .* a regression has none": {"task": "regression", "metrics": ["recall"]},
    r"`metrics` has auc twice": {"metrics": ["auc", "recall", "auc"]},
    r"`metrics` has accuracy twice": {"metrics": ["accuracy", "accuracy"]},
    r"`metrics` has val_loss twice": {"metrics": ["custom.own:val_loss"]},
    r"`metrics` has val_accuracy twice": {"metrics": ["auc", "custom.own:val_accuracy"]},
    r"`metrics` has val_precision twice": {"metrics": ["custom.own:val_precision", "precision"]},
    r"`metrics` has val_f twice": {"metrics": ["custom.one:f", "custom.two:val_f"]},
    r"mean_absolute_percentage_error, which divides": {
        "task": "regression",
        "metrics": ["mean_absolute_percentage_error"],
    },
    r"mean_squared_logarithmic_error, which takes": {
        "task": "regression",
        "values": [-1, 1, 2, 3],
        "metrics": ["mean_squared_logarithmic_error"],
    },
    r"`top_k` is for top_k_categorical_accuracy": {"top_k": 3},
}


@pytest.mark.parametrize("message", REFUSED)
def test_metrics_that_do_not_fit(message: str) -> None:
    """A metric that is unknown, double, or for another task is refused with one sentence."""
    with pytest.raises(ValidationError) as refused:
        make_model(**REFUSED[message])
    (sentence,) = error_messages(refused.value, Model)
    assert re.search(message, sentence), sentence


def test_top_k_of_all_classes() -> None:
    """A top-k accuracy that is always 1 is refused where the number of classes is known."""
    model = make_model(metrics=["top_k_categorical_accuracy"])
    assert "always 1 for 4 classes" in feasibility_errors(model, None, 4)[0]
    assert feasibility_errors(model, None, 10) == []
