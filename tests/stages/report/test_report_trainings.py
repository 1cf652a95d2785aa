"""What the report says of a training: without validation samples, its further metrics, its layers."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.report import report
from stages.report.page import charts
from tests.support.report_data import Run


@pytest.fixture
def run(two_models: Run, tmp_path: Path) -> Run:
    """A copy of `two_models` that a test may change."""
    shutil.copytree(two_models.root, tmp_path / "run")
    return Run(tmp_path / "run")


def test_training_without_validation_is_reported(run: Run) -> None:
    """Without held-out samples the report says so, draws the training's curve, and has no validation figures."""
    path = run.root / "models/dense/history.csv"
    pd.read_csv(path).assign(val_loss=np.nan, val_accuracy=np.nan).to_csv(path, index=False)
    run.edit("models/dense/training.json", validation=None)
    run.edit("data/prepared/prepared.json", samples={"train": 100, "validation": 0})
    assert report.main(run.arguments()) == 0
    page = (run.out / "index.html").read_text()
    assert "There is no validation loss: no sample was held out" in page
    assert not re.search(r"\bnan\b", page[page.index("Learning curves:") : page.index('id="lookup"')], re.IGNORECASE)
    row = pd.read_csv(run.out / "metrics.csv").set_index("model").loc["dense"]
    assert np.isnan(row["validation_loss"])
    assert "validation_loss" not in json.loads((run.out / "models.json").read_text())["dense"]


def test_watched_metrics_are_shown(run: Run) -> None:
    """Metrics beside the accuracy have a curve each, and their validation values in the model card."""
    path = run.root / "models/dense/history.csv"
    history = pd.read_csv(path)
    history.assign(auc=history["accuracy"], val_auc=history["val_accuracy"]).to_csv(path, index=False)
    run.edit("models/dense/training.json", validation={"loss": 0.5, "accuracy": 0.75, "auc": 0.8765})
    assert report.main(run.arguments()) == 0
    page = (run.out / "index.html").read_text()
    assert "AUC 0.8765" in page
    assert "AUC of dense over" in page


def test_layers_are_a_table_of_the_model_card(run: Run) -> None:
    """The model card has a row for each layer with its output shape and parameters, as Keras's summary."""
    layers = [
        {"name": "flatten", "kind": "Flatten", "shape": [None, 64], "parameters": 0},
        {"name": "dense", "kind": "Dense", "shape": [None, 1024], "parameters": 66560},
        {"name": "split", "kind": "Split", "shape": None, "parameters": 0},
    ]
    run.edit("models/dense/training.json", layers=layers, trainable_parameters=60000)
    assert report.main(run.arguments()) == 0
    page = (run.out / "index.html").read_text()
    assert page.count('aria-label="Layers of ') == 1
    row = '<tr><th scope="row">dense</th><td>Dense</td><td>(None, 1024)</td><td class="n">66,560</td></tr>'
    assert row in page
    assert "60,000 of " in page


@pytest.mark.parametrize("epochs", [2, 3, 7, 11])
def test_curves_have_whole_epochs_once(epochs: int) -> None:
    """The axis of few epochs has no ticks between them, whose rounded labels would repeat."""
    rows = [{"epoch": epoch, "part": "training", "value": 1 / epoch, "model": "net"} for epoch in range(1, epochs + 1)]
    texts = re.findall("<text[^>]*>([^<]*)</text>", charts.inline(charts.curve("loss"), rows))
    labels = [int(text) for text in texts[: texts.index("epoch")]]
    assert labels == sorted(set(labels))
    assert set(labels) <= set(range(1, epochs + 1))
    assert len(labels) >= 2
