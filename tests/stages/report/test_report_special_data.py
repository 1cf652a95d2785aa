"""What the report says where the data are special: weighted, without a validation part, few, or of many models."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.base.errors import DataError
from stages.data.datasets import Arrays, describe, read_dataset, read_description, write_dataset
from stages.report import report
from stages.report.page.screen import has_diverged
from tests.stages.report.test_report_screen import facts_of, with_losses
from tests.support.report_data import Run
from tests.support.report_shapes import shaped_run, write_classes, write_values


def with_test_samples(run: Run, rows: slice) -> Any:
    """Leaves these samples of the test part, removes all predictions, and returns the labels (n,)."""
    raw = run.root / "data/raw"
    arrays = read_dataset(raw / "dataset.npz")
    arrays = arrays._replace(x_test=arrays.x_test[rows], y_test=arrays.y_test[rows])
    write_arrays(run, arrays)
    shutil.rmtree(run.root / "evaluation")
    return arrays.y_test


def write_arrays(run: Run, arrays: Arrays) -> None:
    """Replaces the data set of a run; its description keeps the names of the classes."""
    raw = run.root / "data/raw"
    infos = describe("digits", run.params.dataset_params, arrays).arrays
    write_dataset(raw, arrays, read_description(raw / "dataset.json").model_copy(update={"arrays": infos}))


def test_weights_are_no_divergence(tmp_path: Path) -> None:
    """The training loss of a weighted data set is large: its mean weight is a part of what diverges."""
    run = shaped_run(tmp_path, 2, 10)
    with_losses(run, "model_01", 5000.0, 0.5)
    facts = facts_of(run)
    assert {model.name: has_diverged(model, facts.data) for model in facts.models}["model_01"]
    arrays = read_dataset(run.root / "data/raw/dataset.npz")
    write_arrays(run, arrays._replace(w_train=np.full(len(arrays.y_train), 10, np.float32)))
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


def test_one_class_in_the_test_part_has_no_areas(tmp_path: Path) -> None:
    """With test samples of one of the two classes, the areas of the curves are not known, in words."""
    run = shaped_run(tmp_path, 2, 2, "two_class", names=["no", "yes"])
    labels = with_test_samples(run, slice(1, None, 2))
    assert set(labels) == {1}
    for name in ("model_00", "model_01"):
        write_classes(run.root / "evaluation" / name, labels, 2, 0.9, np.random.default_rng(0))
    assert report.main(run.arguments()) == 0
    page = (run.out / "index.html").read_text()
    assert "Area under the ROC curve not known, average precision not known" in page
    assert "ROC curve of model_00, area not known" in page and "average precision not known" in page
    assert not re.search(r"\bnan\b", re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL), re.IGNORECASE)


def test_one_test_sample_of_a_regression_has_no_interval(tmp_path: Path) -> None:
    """The interval of one error is not known: the gate says so and fails, and page, files and picture are written."""
    run = shaped_run(tmp_path, 2, 10, "regression")
    labels = with_test_samples(run, slice(3, 4))
    for name in ("model_00", "model_01"):
        write_values(run.root / "evaluation" / name, labels, 10, 0.9, np.random.default_rng(0))
    run.edit("params.yaml", gates={"every": {"mean_error": 100.0}})
    assert report.main(run.arguments()) == 0
    checks = [check for check in json.loads((run.out / "gates.json").read_text())["checks"]
              if check["gate"] == "mean_error"]  # fmt: skip
    assert [(check["status"], check["sentence"]) for check in checks] == [("failed", "not known, at most 100")] * 2
    rows = json.loads((run.out / "ranking.json").read_text())["tasks"][0]["rows"]
    assert {row["interval"] for row in rows} == {"not known"} and "nan" not in (run.out / "summary.md").read_text()
    summary = (run.out / "summary.md").read_text()
    assert "On 1 test image model" in summary and ", 1 test image." in summary
    table = pd.read_csv(run.out / "metrics.csv")
    assert table["mean_absolute_error_high"].isna().all() and table["mean_absolute_error"].notna().all()
    page = re.sub(r"<(script|style)\b.*?</\1>", "", (run.out / "index.html").read_text(), flags=re.DOTALL)
    assert "95% interval not known" in page and not re.search(r"\bnan\b", page, re.IGNORECASE)


@pytest.mark.parametrize(("recorded", "is_right"), [(317 / 640, True), (0.495313, True), (0.4953, False), (0.5, False)])
def test_an_accuracy_is_that_of_its_errors(tmp_path: Path, recorded: float, is_right: bool) -> None:
    """317 of 640 are 0.4953125, exactly between two numbers of six decimals: both are right, and no other one."""
    run = shaped_run(tmp_path, 1, 10)
    arrays = read_dataset(run.root / "data/raw/dataset.npz")
    images = np.arange(640) % len(arrays.y_test)
    labels, folder = arrays.y_test[images].astype(int), run.root / "evaluation/model_00"
    write_arrays(run, arrays._replace(x_test=arrays.x_test[images], y_test=arrays.y_test[images]))
    predicted = np.where(np.arange(640) < 323, (labels + 1) % 10, labels)
    table = {"label": labels, "predicted": predicted, "probability": 0.91, "loss": 1.0}
    table |= {f"p{number}": np.where(predicted == number, 0.91, 0.01) for number in range(10)}
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    run.edit("evaluation/model_00/metrics.json", accuracy=recorded, errors=323, samples=640)
    if is_right:
        assert facts_of(run).classifiers[0].evaluation.errors == 323
    else:
        with pytest.raises(DataError, match=rf"accuracy: got {recorded}, its `errors` says 0\.4953125; run"):
            facts_of(run)


@pytest.mark.farm
def test_six_models_stay_below_three_megabytes(tmp_path: Path) -> None:
    """A page of six models, with all its charts and their library, has less than 3 MB."""
    run = shaped_run(tmp_path, 6, 10)
    assert report.main(run.arguments()) == 0
    assert (run.out / "index.html").stat().st_size < 3_000_000
