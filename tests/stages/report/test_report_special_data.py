"""What the report says where the data are special: weighted, without a validation part, or few."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from stages.data.datasets import describe, read_dataset, read_description, write_dataset
from stages.report import report
from stages.report.page.screen import has_diverged
from tests.stages.report.test_report_screen import facts_of, with_losses
from tests.support.report_shapes import shaped_run


def test_weights_are_no_divergence(tmp_path: Path) -> None:
    """The training loss of a weighted data set is large: its mean weight is a part of what diverges."""
    run = shaped_run(tmp_path, 2, 10)
    with_losses(run, "model_01", 5000.0, 0.5)
    facts = facts_of(run)
    assert {model.name: has_diverged(model, facts.data) for model in facts.models}["model_01"]
    raw = run.root / "data/raw"
    arrays = read_dataset(raw / "dataset.npz")
    arrays = arrays._replace(w_train=np.full(len(arrays.y_train), 10, np.float32))
    infos = describe("digits", run.params.dataset_params, arrays).arrays
    write_dataset(raw, arrays, read_description(raw / "dataset.json").model_copy(update={"arrays": infos}))
    weighted = facts_of(run)
    assert [has_diverged(model, weighted.data) for model in weighted.models] == [False, False]


def test_without_validation_part_no_model_is_named(tmp_path: Path) -> None:
    """Where nothing was held out, neither metrics.json, summary, plots nor the first screen has a best model."""
    run = shaped_run(tmp_path, 3, 4)
    for name in ("model_00", "model_01", "model_02"):
        run.edit(f"models/{name}/training.json", validation=None)
        with_losses(run, name, 0.1, np.nan)
    run.edit("data/prepared/prepared.json", samples={"train": 1347, "validation": 0})
    assert report.main(run.arguments()) == 0
    metrics = json.loads((run.out / "metrics.json").read_text())
    assert sorted(metrics) == ["gates", "trivial"]
    page, summary = (run.out / "index.html").read_text(), (run.out / "summary.md").read_text()
    assert "Where the models fail" in page and "No model is chosen" in page and "Where model_00 fails" not in page
    assert 'class="leader"' not in page
    assert "None of the 3 models is chosen" in summary and "Errors of" not in summary
    for name in ("recall", "reliability"):
        assert not len(pd.read_csv(run.out / f"plots/{name}.csv"))
    scores = json.loads((run.out / "models.json").read_text())
    assert sorted(scores) == ["model_00", "model_01", "model_02"] and "test_accuracy" in scores["model_00"]
