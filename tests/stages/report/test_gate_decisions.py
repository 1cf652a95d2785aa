"""What a gate decides at its limit, on a stand-in, and between two models whose difference may be chance."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.report import check_gates
from stages.report.gates import Check, GateResults, Status, _check_limit, _not_judged, format_beside
from stages.report.gather import Folders, gather_facts
from stages.report.models.trivial import TrivialAnswer
from stages.report.statistics.intervals import wilson_interval
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with digits and a poor model; read-only. The data set is no stand-in."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (2,)}, epochs=2)
    run.edit("data/raw/dataset.json", stand_in_for=None)
    return run


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy of `finished` that a test may change."""
    shutil.copytree(finished.root, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize(
    ("gate", "figure", "limit", "status", "sentence"),
    [
        ("lower_bound", 0.9, 0.9, "passed", "0.9, at least 0.9"),
        ("lower_bound", 0.8999, 0.9, "failed", "0.8999, at least 0.9"),
        ("lower_bound", 0.91, 0.9, "passed", "0.91, at least 0.9"),
        ("gap_points", 3.0, 3.0, "passed", "3, at most 3"),
        ("gap_points", 3.1, 3.0, "failed", "3.1, at most 3"),
        ("mean_error", 2.5, 3.0, "passed", "2.5, at most 3"),
        ("lower_bound", math.nan, 0.0, "failed", "not known, at least 0"),
        ("calibration_error", math.nan, 1.0, "failed", "not known, at most 1"),
    ],
)
def test_a_figure_at_its_limit(gate: str, figure: float, limit: float, status: str, sentence: str) -> None:
    """A figure at its limit passes, an unknown one fails; accuracy has a minimum, all others a maximum."""
    assert _check_limit("m", gate, figure, limit) == Check("m", gate, status, sentence)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gate", "status", "expected"),
    [
        ("not_perfect", "failed", "failed"),
        ("not_perfect", "passed", "not judged"),
        ("lower_bound", "failed", "not judged"),
        ("lower_bound", "passed", "not judged"),
    ],
)
def test_gates_of_a_stand_in(gate: str, status: Status, expected: str) -> None:
    """On a stand-in only a result that is too good to be true fails; nothing passes."""
    assert _not_judged(Check("m", gate, status, "s")) == Check("m", gate, expected, "s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statuses", "passed", "summary"),
    [
        (["passed", "passed"], True, "2 passed, 0 failed"),
        (["passed", "not judged"], None, "1 passed, 0 failed, 1 not judged"),
        (["failed", "not judged"], False, "0 passed, 1 failed, 1 not judged"),
        (["passed", "failed"], False, "1 passed, 1 failed"),
    ],
)
def test_all_gates_together(statuses: list[Status], passed: bool | None, summary: str) -> None:
    """All passed, one failed, or none failed and one could not be judged: three answers."""
    results = GateResults(tuple(Check("m", str(n), status, "s") for n, status in enumerate(statuses)), None, {})
    assert results.record()["passed"] is passed
    assert results.summary == summary
    assert [check.status for check in results.failed] == ["failed"] * statuses.count("failed")
    assert sum(results.counts.values()) == len(statuses)


def answer(run: Run, predicted: Any) -> None:
    """Replaces the predictions of the model."""
    path = run.root / "evaluation/dense/predictions.parquet"
    table = pd.read_parquet(path)
    labels = table["label"].to_numpy()
    predicted = labels.copy() if predicted is None else predicted
    table.assign(predicted=predicted).to_parquet(path)
    errors = int((predicted != labels).sum())
    run.edit("evaluation/dense/metrics.json", errors=errors, accuracy=(len(labels) - errors) / len(labels))


def with_errors(run: Run, wrong: range) -> None:
    """Makes the model wrong for these test images alone."""
    labels = pd.read_parquet(run.root / "evaluation/dense/predictions.parquet")["label"].to_numpy()
    predicted = labels.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 10
    answer(run, predicted)


@pytest.mark.parametrize(
    ("now", "before", "status"),
    [
        (range(40), range(10), "failed"),
        (range(10), range(40), "passed"),  # better
        (range(13), range(10), "passed"),  # worse by what may be chance
        (range(16), range(10), "failed"),  # p = 2 / 2**6
        (range(15), range(10), "passed"),  # p = 2 / 2**5
        (range(10), range(10), "passed"),
    ],
)
def test_worse_than_before_or_by_chance(run: Run, tmp_path: Path, now: range, before: range, status: str) -> None:
    """A model fails if the test images show that it became worse, and not for a difference that may be chance."""
    shutil.copytree(run.root, tmp_path / "accepted")
    with_errors(run, now)
    with_errors(Run(tmp_path / "accepted"), before)
    (check,) = (
        check for check in check_gates.check_run(run.root, tmp_path / "accepted").checks if check.gate == "accepted"
    )
    assert check.status == status
    assert check.sentence.startswith("worse than" if status == "failed" else "not shown to be worse than the accepted ")


def checks_of(run: Run, accepted: Path | None = None, **every: Any) -> dict[tuple[str, str], Check]:
    """Returns the gates of all models, with these limits for every model."""
    run.edit("params.yaml", gates={"every": every})
    return {(check.model, check.gate): check for check in check_gates.check_run(run.root, accepted).checks}


def add_model(run: Run, name: str) -> None:
    """Adds a copy of the model with another name."""
    for folder in ("models", "evaluation"):
        shutil.copytree(run.root / folder / "dense", run.root / folder / name)
    run.edit(f"models/{name}/training.json", model=name)
    params = json.loads((run.root / "params.yaml").read_text())
    run.edit("params.yaml", models=params["models"] | {name: params["models"]["dense"]})


def test_limits_that_a_model_has(run: Run) -> None:
    """Each limit that is given and that a model has a figure for is a gate; a limit of values is none for classes."""
    assert [gate for _, gate in checks_of(run)] == ["not_perfect", "better_than_trivial"]
    found = checks_of(run, lower_bound=0.0, gap_points=100, calibration_error=1.0, mean_error=1.0)
    assert {gate for _, gate in found} == {
        "not_perfect", "better_than_trivial", "lower_bound", "gap_points", "calibration_error",
    }  # fmt: skip
    assert {check.status for check in found.values()} == {"passed"}
    assert check_gates.check_run(run.root).note is None


def test_a_stand_in_passes_no_limit(run: Run) -> None:
    """On a stand-in the limits are not judged, with a note; what holds for any data is."""
    run.edit("data/raw/dataset.json", stand_in_for="mnist")
    statuses = {gate: check.status for (_, gate), check in checks_of(run, lower_bound=1.0, gap_points=100).items()}
    assert statuses == {
        "not_perfect": "not judged", "lower_bound": "not judged", "gap_points": "not judged",
        "better_than_trivial": "passed",
    }  # fmt: skip
    assert check_gates.check_run(run.root).note == "digits only stands in for mnist: the limits are not judged"


def test_another_model_of_the_run(run: Run) -> None:
    """`not_worse_than` compares all other models with the one that it names."""
    add_model(run, "other")
    found = checks_of(run, not_worse_than="dense")
    assert found["other", "not_worse_than"].status == "passed" and ("dense", "not_worse_than") not in found
    assert {model for model, _ in found} == {"dense", "other"}
    with_errors(run, range(10))
    assert checks_of(run, not_worse_than="dense")["other", "not_worse_than"].status == "failed"


def test_a_perfect_model_is_suspicious(run: Run) -> None:
    """No error at all fails; any error passes, with the number."""
    with_errors(run, range(3))
    found = checks_of(run)["dense", "not_perfect"]
    assert (found.status, found.sentence) == ("passed", "3 errors")
    with_errors(run, range(0))
    assert checks_of(run)["dense", "not_perfect"].status == "failed"


def test_a_version_without_the_model(run: Run, tmp_path: Path) -> None:
    """A model that the accepted version lacks is not judged, and the reason is that there is none."""
    shutil.copytree(run.root, tmp_path / "accepted")
    add_model(run, "new")
    check = checks_of(run, tmp_path / "accepted")["new", "accepted"]
    assert (check.status, check.sentence) == ("not judged", "the accepted version does not exist")


def test_few_digits_that_do_not_cross_the_limit() -> None:
    """A figure has four digits, or as many as show on which side of its limit it is."""
    figures = [format_beside(0.98954321, 0.94), format_beside(0.93999, 0.94), format_beside(0.94, 0.94)]
    assert figures == ["0.9895", "0.93999", "0.94"]


def test_other_labels_are_not_compared(run: Run, tmp_path: Path) -> None:
    """A version that was examined on other labels is no measure: the gate is not judged, and says why."""
    shutil.copytree(run.root, tmp_path / "accepted")
    for name in ("run", "accepted"):
        with_errors(Run(tmp_path / name), range(10))
    path = tmp_path / "accepted/evaluation/dense/predictions.parquet"
    table = pd.read_parquet(path)
    with np.load(tmp_path / "accepted/data/raw/dataset.npz") as arrays:
        content = dict(arrays)
    content["y_test"][0] = (content["y_test"][0] + 1) % 10
    np.savez(tmp_path / "accepted/data/raw/dataset.npz", **content)
    table.loc[0, "label"] = content["y_test"][0]
    table.to_parquet(path)
    errors = int((table["predicted"] != table["label"]).sum())
    Run(tmp_path / "accepted").edit("evaluation/dense/metrics.json", errors=errors, accuracy=1 - errors / len(table))
    checks = {check.gate: check for check in check_gates.check_run(run.root, tmp_path / "accepted").checks}
    assert checks["accepted"].status == "not judged" and "other images or labels" in checks["accepted"].sentence


def trivial_gate(run: Run) -> Check:
    """Returns the gate that compares the model with the trivial answer."""
    return next(check for check in check_gates.check_run(run.root).checks if check.gate == "better_than_trivial")


def test_better_than_the_trivial_answer(run: Run) -> None:
    """The test images have to show it: a few right answers more may be chance, and far worse is not better."""
    group = gather_facts(run.params, Folders.of_project(run.root)).groups[0]
    labels, constant = group.trivial.labels, int(group.trivial.constant)
    others = np.flatnonzero(labels != constant)
    for right, status in ((5, "failed"), (6, "passed"), (200, "passed")):
        predicted = np.full(len(labels), constant)
        predicted[others[:right]] = labels[others[:right]]
        answer(run, predicted)
        assert trivial_gate(run).status == status
        (model,) = gather_facts(run.params, Folders.of_project(run.root)).models
        assert group.trivial.is_beaten_by(model) == (status == "passed")
        assert not group.trivial.is_better_than(model)
    answer(run, np.full(len(labels), constant))
    (model,) = gather_facts(run.params, Folders.of_project(run.root)).models
    assert not group.trivial.is_better_than(model) and not group.trivial.is_beaten_by(model)
    answer(run, (labels + 1) % 10)
    assert trivial_gate(run).status == "failed"
    (model,) = gather_facts(run.params, Folders.of_project(run.root)).models
    assert group.trivial.is_better_than(model)


def test_too_few_errors_to_tell(run: Run) -> None:
    """With five wrong answers of the trivial answer nothing can be shown: the gate is not judged, with the numbers."""
    with np.load(run.root / "data/raw/dataset.npz") as arrays:
        content = dict(arrays)
    constant = np.bincount(content["y_train"]).argmax()
    content["y_test"][:] = constant
    content["y_test"][:5] = (constant + 1) % 10
    np.savez(run.root / "data/raw/dataset.npz", **content)
    path = run.root / "evaluation/dense/predictions.parquet"
    table = pd.read_parquet(path).assign(label=content["y_test"].astype(np.int32))
    table.to_parquet(path)
    with_errors(run, range(20, 30))
    check = trivial_gate(run)
    assert check.status == "not judged"
    assert check.sentence == f"{constant} is wrong for 5 of 450 test images, too few to tell"


def test_figures_of_the_trivial_answer() -> None:
    """Score, errors and interval are those of always the same class, or of always the same value."""
    labels = np.array([1] * 6 + [0] * 4)
    trivial = TrivialAnswer("1", labels, 1, is_class=True)
    assert (trivial.score, trivial.errors, trivial.label, trivial.title) == (0.6, 4, "always 1", "trivial answer: 1")
    assert trivial.interval == wilson_interval(6, 10)
    assert trivial.metrics == {
        "test_accuracy": 0.6, "test_accuracy_low": trivial.interval[0], "test_accuracy_high": trivial.interval[1],
        "test_errors": 4, "test_samples": 10,
    }  # fmt: skip
    values = TrivialAnswer("the mean 2", np.array([1.0, 2.0, 4.0]), 2.0, is_class=False)
    assert values.score == pytest.approx(1) and values.label == "the mean 2" and values.errors == 2
    metrics = values.metrics
    assert metrics["mean_absolute_error"] == pytest.approx(1)
    assert metrics["root_mean_squared_error"] == pytest.approx(math.sqrt(5 / 3))
    assert metrics["r2"] == pytest.approx(1 - 5 / (14 / 3)) and metrics["test_samples"] == 3
    assert metrics["mean_absolute_error_low"] < 1 < metrics["mean_absolute_error_high"]
    assert TrivialAnswer("the mean 2", np.array([1.0, 3.0]), 2.0, is_class=False).metrics["r2"] == pytest.approx(0)
    for wrong, can_be_beaten in ((5, False), (6, True), (7, True)):
        few = TrivialAnswer("1", np.array([1] * 20 + [0] * wrong), 1, is_class=True)
        assert few.can_be_beaten is can_be_beaten
    assert math.isnan(TrivialAnswer("the mean 2", np.array([1.0]), 2.0, is_class=False).metrics["r2"])


def test_values_and_the_mean(tmp_path: Path) -> None:
    """A regression is better with less error: closer values beat the mean, farther ones do not."""
    run = shaped_run(tmp_path, 1, 10, "regression")
    facts = gather_facts(run.params, Folders.of_project(run.root))
    group, (model,) = facts.groups[0], facts.models
    assert group.trivial.is_beaten_by(model) and not group.trivial.is_better_than(model)
    assert group.trivial.test(model).difference > 0
    path = run.root / "evaluation/model_00/predictions.parquet"
    table = pd.read_parquet(path)
    table.assign(value=table["target"] + 50, predicted=9).to_parquet(path)
    (worse,) = gather_facts(run.params, Folders.of_project(run.root)).models
    assert group.trivial.is_better_than(worse) and not group.trivial.is_beaten_by(worse)
    table.assign(value=group.trivial.constant, predicted=4).to_parquet(path)
    (equal,) = gather_facts(run.params, Folders.of_project(run.root)).models
    assert not group.trivial.is_better_than(equal) and not group.trivial.is_beaten_by(equal)
