"""Quality gates: each one passes and fails where it should, and `inkflow check` says so to people, programs and CI."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cli.main import main as inkflow
from flows.core.errors import GatesFailed, ProgramFailed
from flows.core.gates import enforce, judge
from stages.base.errors import InvalidInput, ParamsError
from stages.report import check_gates, report
from stages.report.gates import beside
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run
from tests.support.root import ROOT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits, a good and a poor model; to be read only. The data stand in for nothing."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"cnn": (64,), "dense": (2,)})
    run.edit("data/raw/dataset.json", stand_in_for=None)
    return run


@pytest.fixture
def run(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of `finished` to spoil; also the current folder."""
    shutil.copytree(finished.root, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # programs are run in that folder
    return Run(tmp_path / "run")


def checks(run: Run, **limits: Any) -> dict[tuple[str, str], str]:
    """Status of each gate of each model under `gates: {every: limits}`."""
    run.edit("params.yaml", gates={"every": limits})
    return {(check.model, check.gate): check.status for check in check_gates.judged(run.root).checks}


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
    """A model is on the right side of a limit or not."""
    assert checks(run, **limits)["cnn", next(iter(limits))] == status


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1) | st.sampled_from([0.94, 0.03]))
def test_figures_are_rounded_on_their_own_side(got: float, limit: float) -> None:
    """A figure that stands beside its limit, rounded, is still below, equal or above it as it was."""
    text = beside(got, limit)
    assert (float(text) < limit, float(text) > limit) == (got < limit, got > limit)
    assert float(text) == pytest.approx(got, rel=1e-3)


def test_figures_have_no_more_digits_than_it_takes() -> None:
    """Four digits as a rule, more where they would step over the limit, words where there is no figure."""
    assert [beside(0.98950168, 0.94), beside(0.93999, 0.94), beside(float("nan"), 3)] == [
        "0.9895",
        "0.93999",
        "not known",
    ]


def test_gap(run: Run) -> None:
    """A training accuracy far above the test accuracy fails."""
    run.edit("models/dense/training.json", train={"loss": 0.0, "accuracy": 1.0})
    found = checks(run, gap_points=10)
    assert (found["dense", "gap_points"], found["cnn", "gap_points"]) == ("failed", "passed")


def test_worse_than_the_accepted_model(run: Run) -> None:
    """A model that the test images show to be worse fails; one is not held against itself."""
    found = checks(run, not_worse_than="cnn")
    assert found["dense", "not_worse_than"] == "failed"
    assert ("cnn", "not_worse_than") not in found


def test_own_limits_replace_single_keys(run: Run) -> None:
    """What stands under a model's name replaces the same key of `every`, and no other."""
    own = {"dense": {"lower_bound": 0.0}}
    run.edit("params.yaml", gates={"every": {"lower_bound": 1.0, "gap_points": 100}, "models": own})
    found = {(check.model, check.gate): check.status for check in check_gates.judged(run.root).checks}
    assert found["dense", "lower_bound"] == "passed" and found["cnn", "lower_bound"] == "failed"
    assert found["dense", "gap_points"] == "passed"


def be_perfect(run: Run, name: str) -> None:
    """Let a model read every test image right."""
    path = run.root / f"evaluation/{name}/predictions.parquet"
    table = pd.read_parquet(path)
    sure = np.eye(10, dtype=np.float32)[table["label"]]
    columns = {f"p{digit}": sure[:, digit] for digit in range(10)}
    table.assign(predicted=table["label"], probability=np.float32(1), loss=np.float32(0), **columns).to_parquet(path)
    run.edit(f"evaluation/{name}/metrics.json", accuracy=1.0, errors=0, loss=0.0)


def test_perfection_is_suspicious(run: Run) -> None:
    """An accuracy of exactly 1 fails without any limit, on a stand-in too; one with errors is not called suspicious."""
    be_perfect(run, "cnn")
    sentences = {
        check.model: check.sentence for check in check_gates.judged(run.root).checks if check.gate == "not_perfect"
    }
    assert "suspicious" in sentences["cnn"]
    assert re.fullmatch(r"\d+ errors", sentences["dense"])
    assert checks(run)["cnn", "not_perfect"] == "failed"
    run.edit("data/raw/dataset.json", stand_in_for="mnist")
    assert checks(run) == {("cnn", "not_perfect"): "failed", ("dense", "not_perfect"): "passed"}


def test_every_label_right_is_suspicious_of_values(tmp_path: Path) -> None:
    """Values whose nearest label is always the true one are an accuracy of exactly 1: as suspicious, error or not."""
    run = shaped_run(tmp_path, 2, 10, "regression")
    path = run.root / "evaluation/model_00/predictions.parquet"
    table = pd.read_parquet(path)
    table.assign(value=table["target"] + 0.25, predicted=table["label"]).to_parquet(path)
    found = {check.model: check for check in check_gates.judged(run.root).checks if check.gate == "not_perfect"}
    assert (found["model_00"].status, found["model_01"].status) == ("failed", "passed")
    assert found["model_00"].sentence.startswith("every label right is suspicious")


def test_stand_in_is_not_held_to_limits(run: Run) -> None:
    """Limits for the real data are not applied to a stand-in, and the judgement says so."""
    run.edit("data/raw/dataset.json", stand_in_for="mnist")
    run.edit("params.yaml", gates={"every": {"lower_bound": 1.0}})
    found = check_gates.judged(run.root)
    assert found.passed and "stands in for mnist" in str(found.note)


def test_accepted_version(run: Run, tmp_path: Path) -> None:
    """A model that became worse than its accepted version fails; one without such a version is not judged."""
    shutil.copytree(run.root, tmp_path / "accepted")
    before = Run(tmp_path / "accepted")
    params = json.loads((before.root / "params.yaml").read_text())
    before.edit("params.yaml", models={"dense": params["models"]["dense"]})
    be_perfect(before, "dense")
    found = {(check.model, check.gate): check.status for check in check_gates.judged(run.root, before.root).checks}
    assert found["dense", "accepted"] == "failed" and found["cnn", "accepted"] == "not judged"


def test_unknown_model_in_gates(run: Run) -> None:
    """A gate for a model that does not exist is a mistake in params.yaml."""
    run.edit("params.yaml", gates={"models": {"cmm": {"lower_bound": 0.9}}})
    with pytest.raises(ParamsError, match="names 'cmm', which is not in `models`"):
        check_gates.judged(run.root)


def test_check_for_people_programs_and_ci(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`inkflow check`: a table, JSON, JUnit XML with each failure, and exit code 1."""
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
    said = capsys.readouterr().out
    assert "suspicious" not in said  # beside `passed` it would say the contrary
    assert "2 gates: 2 passed" in said


def test_junit_lies_where_the_caller_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--junit check_gates.xml` in a folder of the project is written there, not in the project's root."""
    monkeypatch.chdir(run.root / "models/cnn")
    assert inkflow(["check", "--junit", "gates.xml"]) == 0
    assert (run.root / "models/cnn/gates.xml").exists() and not (run.root / "gates.xml").exists()


def test_what_was_not_judged_is_not_called_passed(run: Run) -> None:
    """The flow's last sentence counts a gate that could not be judged apart."""
    assert report.main(run.arguments()) == 0
    checks = json.loads((run.out / "gates.json").read_text())["checks"]
    checks.append({"model": "cnn", "gate": "not_worse_than", "status": "not judged", "sentence": "other labels"})
    run.edit("reports/gates.json", checks=checks)
    assert enforce(run.root) == "2 quality gates passed, 1 not judged"


def test_enforce_is_the_reports_own_judgement(run: Run) -> None:
    """The flow's last step fails by what the report recorded, each gate named; without a report it says what to do."""
    with pytest.raises(InvalidInput, match="run `inkflow run report`"):
        enforce(run.root)
    run.edit("params.yaml", gates={"every": {"not_worse_than": "cnn"}})
    assert report.main(run.arguments()) == 0
    with pytest.raises(GatesFailed, match=r"1 quality gate failed: dense, not_worse_than: worse than cnn"):
        enforce(run.root)
    assert "quality gates failed" in (run.out / "index.html").read_text()
    run.edit("params.yaml", gates={})
    assert report.main(run.arguments()) == 0
    assert enforce(run.root) == "2 quality gates passed"


def test_missing_files_are_one_sentence(run: Run) -> None:
    """What `inkflow check` cannot read is said with the program's own exit code."""
    shutil.rmtree(run.root / "evaluation")
    with pytest.raises(ProgramFailed, match=r"predictions\.parquet: not found") as caught:
        judge(run.root)
    assert caught.value.exit_code == 2
