"""Quality gates: each one passes and fails at its limit, and `inkflow check` reports it to users, programs and CI."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.cli.main import main as inkflow
from flows.core.errors import GatesFailed, ProgramFailed
from flows.core.gates import enforce_gates, evaluate_gates
from flows.dvc_repo.versions.artifacts import Artifact
from flows.registry.judgement import judge
from stages.base.errors import InvalidInput, ParamsError
from stages.report import check_gates, report
from stages.report.gates import format_beside
from stages.report.models.trivial import TrivialAnswer
from tests.support.report_data import Run, finish_run, small_digits, write_json
from tests.support.report_shapes import shaped_run
from tests.support.root import ROOT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with digits, a good and a poor model; read-only. The data set is no stand-in."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"cnn": (64,), "dense": (2,)})
    run.edit("data/raw/dataset.json", stand_in_for=None)
    return run


@pytest.fixture
def run(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of `finished` that a test may change, as the current folder."""
    shutil.copytree(finished.root, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # programs run in that folder
    return Run(tmp_path / "run")


def checks(run: Run, **limits: Any) -> dict[tuple[str, str], str]:
    """Returns the status of each gate of each model with `gates: {every: limits}`."""
    run.edit("params.yaml", gates={"every": limits})
    return {(check.model, check.gate): check.status for check in check_gates.check_run(run.root).checks}


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"lower_bound": 0.5}, "passed"),
        ({"lower_bound": 1.0}, "failed"),
        ({"gap_points": 100}, "passed"),
        ({"calibration_error": 1.0}, "passed"),
        ({"calibration_error": 0.0}, "failed"),
        ({"not_worse_than": "dense"}, "passed"),
    ],
)
def test_limits(run: Run, limits: dict[str, Any], status: str) -> None:
    """A figure above a minimum or below a maximum passes, any other fails."""
    assert checks(run, **limits)["cnn", next(iter(limits))] == status


@given(st.floats(0, 1), st.floats(0, 1) | st.sampled_from([0.94, 0.03]))
def test_rounding_does_not_cross_the_limit(got: float, limit: float) -> None:
    """A rounded figure is below, at or above its limit like the exact one."""
    text = format_beside(got, limit)
    assert (float(text) < limit, float(text) > limit) == (got < limit, got > limit)
    assert float(text) == pytest.approx(got, rel=1e-3)


def test_rounding_keeps_few_digits() -> None:
    """Figures have four digits, more where they would cross the limit, and words where there is no figure."""
    assert [format_beside(0.98950168, 0.94), format_beside(0.93999, 0.94), format_beside(float("nan"), 3)] == [
        "0.9895",
        "0.93999",
        "not known",
    ]


def test_gap(run: Run) -> None:
    """A training accuracy far above the test accuracy fails."""
    run.edit("models/dense/training.json", train={"loss": 0.0, "accuracy": 1.0})
    statuses = checks(run, gap_points=10)
    assert (statuses["dense", "gap_points"], statuses["cnn", "gap_points"]) == ("failed", "passed")


def test_worse_than_the_accepted_model(run: Run) -> None:
    """A significantly worse model fails; a model is not compared with itself."""
    statuses = checks(run, not_worse_than="cnn")
    assert statuses["dense", "not_worse_than"] == "failed"
    assert ("cnn", "not_worse_than") not in statuses


def test_own_limits_replace_single_keys(run: Run) -> None:
    """A key under a model's name replaces the same key of `every`, and no other key."""
    own = {"dense": {"lower_bound": 0.0}}
    run.edit("params.yaml", gates={"every": {"lower_bound": 1.0, "gap_points": 100}, "models": own})
    statuses = {(check.model, check.gate): check.status for check in check_gates.check_run(run.root).checks}
    assert statuses["dense", "lower_bound"] == "passed" and statuses["cnn", "lower_bound"] == "failed"
    assert statuses["dense", "gap_points"] == "passed"


def make_perfect(run: Run, name: str) -> None:
    """Replaces the predictions of a model by the labels."""
    path = run.root / f"evaluation/{name}/predictions.parquet"
    table = pd.read_parquet(path)
    probabilities = np.eye(10, dtype=np.float32)[table["label"]]
    columns = {f"p{digit}": probabilities[:, digit] for digit in range(10)}
    table.assign(predicted=table["label"], probability=np.float32(1), loss=np.float32(0), **columns).to_parquet(path)
    run.edit(f"evaluation/{name}/metrics.json", accuracy=1.0, errors=0, loss=0.0)


def test_perfection_is_suspicious(run: Run) -> None:
    """An accuracy of exactly 1 fails without any limit, on a stand-in too; a model with errors is not judged there."""
    make_perfect(run, "cnn")
    sentences = {
        check.model: check.sentence for check in check_gates.check_run(run.root).checks if check.gate == "not_perfect"
    }
    assert "suspicious" in sentences["cnn"]
    assert re.fullmatch(r"\d+ errors", sentences["dense"])
    assert checks(run)["cnn", "not_perfect"] == "failed"
    run.edit("data/raw/dataset.json", stand_in_for="mnist")
    statuses = checks(run)
    assert [statuses[name, "not_perfect"] for name in ("cnn", "dense")] == ["failed", "not judged"]


def test_every_nearest_label_right_is_suspicious(tmp_path: Path) -> None:
    """Values whose nearest label is always the true one have an accuracy of exactly 1, which fails too."""
    run = shaped_run(tmp_path, 2, 10, "regression")
    path = run.root / "evaluation/model_00/predictions.parquet"
    table = pd.read_parquet(path)
    table.assign(value=table["target"] + 0.25, predicted=table["label"]).to_parquet(path)
    results = {check.model: check for check in check_gates.check_run(run.root).checks if check.gate == "not_perfect"}
    assert (results["model_00"].status, results["model_01"].status) == ("failed", "passed")
    assert results["model_00"].sentence.startswith("every label right is suspicious")


def test_limits_do_not_apply_to_a_stand_in(run: Run) -> None:
    """Limits for the original data set are not applied to a stand-in, and a note gives the reason."""
    run.edit("data/raw/dataset.json", stand_in_for="mnist")
    run.edit("params.yaml", gates={"every": {"lower_bound": 1.0}})
    results = check_gates.check_run(run.root)
    assert not results.failed and "stands in for mnist" in str(results.note)
    judged = {check.gate for check in results.checks if check.status != "not judged"}
    assert judged == {"better_than_trivial"} and results.record()["passed"] is None
    assert results.summary == "2 passed, 0 failed, 4 not judged"


@pytest.mark.parametrize("stand_in_for", [None, "mnist"])
def test_chance_level_fails(run: Run, stand_in_for: str | None) -> None:
    """A model that is no better than the most frequent training class fails, on a stand-in too."""
    run.edit("data/raw/dataset.json", stand_in_for=stand_in_for)
    path = run.root / "evaluation/dense/predictions.parquet"
    table = pd.read_parquet(path)
    predicted = np.arange(len(table)) % 10
    table.assign(predicted=predicted).to_parquet(path)
    errors = int((predicted != table["label"]).sum())
    run.edit("evaluation/dense/metrics.json", errors=errors, accuracy=1 - errors / len(table))
    results = check_gates.check_run(run.root)
    assert [(check.model, check.gate) for check in results.failed] == [("dense", "better_than_trivial")]
    assert "trivial answer 8.44% (4); McNemar" in results.failed[0].sentence
    assert results.record()["passed"] is False


def test_values_are_compared_with_the_mean(tmp_path: Path) -> None:
    """Regressions have to beat the mean of the training values; always answering that mean fails."""
    run = shaped_run(tmp_path, 2, 10, "regression")
    path = run.root / "evaluation/model_00/predictions.parquet"
    table = pd.read_parquet(path)
    table.assign(value=run_mean(run), predicted=4).to_parquet(path)
    results = {
        check.model: check for check in check_gates.check_run(run.root).checks if check.gate.startswith("better")
    }
    assert (results["model_00"].status, results["model_01"].status) == ("failed", "passed")
    assert "(the mean 4.49" in results["model_01"].sentence


def run_mean(run: Run) -> float:
    """Returns the mean of the training labels."""
    with np.load(run.root / "data/raw/dataset.npz") as arrays:
        return float(arrays["y_train"].mean())


def test_too_few_test_images_judge_nothing() -> None:
    """Where not even a perfect model could be shown to be better, the gate says so and is not passed."""
    labels = np.array([1] * 20 + [0] * 5)
    assert not TrivialAnswer("1", labels, 1, is_class=True).can_be_beaten
    assert TrivialAnswer("1", np.append(labels, 0), 1, is_class=True).can_be_beaten


def test_accepted_version(run: Run, tmp_path: Path) -> None:
    """A model that became worse than its accepted version fails; one without an accepted version is not judged."""
    shutil.copytree(run.root, tmp_path / "accepted")
    accepted = Run(tmp_path / "accepted")
    params = json.loads((accepted.root / "params.yaml").read_text())
    accepted.edit("params.yaml", models={"dense": params["models"]["dense"]})
    make_perfect(accepted, "dense")
    results = check_gates.check_run(run.root, accepted.root)
    statuses = {(check.model, check.gate): check.status for check in results.checks}
    assert statuses["dense", "accepted"] == "failed" and statuses["cnn", "accepted"] == "not judged"


def test_unknown_model_in_gates(run: Run) -> None:
    """A gate for a model that does not exist is a mistake in params.yaml."""
    run.edit("params.yaml", gates={"models": {"cmm": {"lower_bound": 0.9}}})
    with pytest.raises(ParamsError, match="names 'cmm', which is not in `models`"):
        check_gates.check_run(run.root)


@pytest.mark.farm
def test_check_for_users_programs_and_ci(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow check` prints a table or JSON, writes JUnit XML with each failure, and ends with exit code 1."""
    run.edit("params.yaml", gates={"every": {"lower_bound": 0.9, "not_worse_than": "cnn"}})
    assert inkflow(["check", "--junit", "out/gates.xml"]) == 1
    table = capsys.readouterr().out
    assert "dense" in table and "failed" in table
    suite = ElementTree.parse("out/gates.xml").getroot()
    failures = [(case.get("classname"), case.get("name")) for case in suite if case.find("failure") is not None]
    assert ("dense", "not_worse_than") in failures and suite.get("failures") == str(len(failures))
    assert inkflow(["check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    run.edit("params.yaml", gates={})
    assert inkflow(["check"]) == 0
    table = capsys.readouterr().out
    assert "suspicious" not in table  # contradicts `passed`
    assert "4 gates: 4 passed" in table


@pytest.mark.farm
def test_junit_path_is_relative_to_the_current_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--junit gates.xml` writes to the current folder, not to the root of the project."""
    monkeypatch.chdir(run.root / "models/cnn")
    assert inkflow(["check", "--junit", "gates.xml"]) == 0
    assert (run.root / "models/cnn/gates.xml").exists() and not (run.root / "gates.xml").exists()


def test_a_gate_that_is_not_judged_is_not_passed(run: Run) -> None:
    """The flow's last message counts a gate that could not be judged separately."""
    record = check_gates.check_run(run.root).record()
    record["checks"].append(
        {"model": "cnn", "gate": "not_worse_than", "status": "not judged", "sentence": "other labels"}
    )
    write_json(run.out / "gates.json", record)
    assert enforce_gates(run.root) == "4 quality gates passed, 1 not judged"


@pytest.mark.farm
def test_enforce_reads_the_results_of_the_report(run: Run) -> None:
    """The flow's last step fails with the failed gates of the report; without a report it names the command."""
    with pytest.raises(InvalidInput, match="run `inkflow run report`"):
        enforce_gates(run.root)
    run.edit("params.yaml", gates={"every": {"not_worse_than": "cnn"}})
    assert report.main(run.arguments()) == 0
    with pytest.raises(GatesFailed, match=r"1 quality gate failed: dense, not_worse_than: worse than cnn"):
        enforce_gates(run.root)
    assert "quality gates failed" in (run.out / "index.html").read_text()
    run.edit("params.yaml", gates={})
    assert report.main(run.arguments()) == 0
    assert enforce_gates(run.root) == "4 quality gates passed"


@pytest.mark.farm
def test_missing_files_are_one_sentence(run: Run) -> None:
    """A file that `inkflow check` cannot read is named, with the exit code of the program."""
    shutil.rmtree(run.root / "evaluation")
    with pytest.raises(ProgramFailed, match=r"predictions\.parquet: not found") as raised:
        evaluate_gates(run.root)
    assert raised.value.exit_code == 2


@pytest.mark.farm
def test_a_stand_in_is_not_promoted(run: Run) -> None:
    """The registry does not take the gates of a stand-in, which are not judged, as passed."""
    artifact = Artifact("cnn", "models/cnn/model.onnx", "train@cnn", "0" * 32, {})
    assert judge(run.root, artifact, None).problems == ()
    run.edit("data/raw/dataset.json", stand_in_for="mnist")
    judgement = judge(run.root, artifact, None)
    assert judgement.problems == (
        "its gates are not judged: digits only stands in for mnist: the limits are not judged",
    )
    assert judgement.facts["Gates"].startswith("1 not judged, 1 passed")
