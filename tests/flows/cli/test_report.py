"""`inkflow report`: writes a copy of the page with the figures of this machine, and leaves the tracked page alone."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from flows.cli.report import fill_page, machine_figures
from flows.core.commit import commit_date, describe, is_recorded
from stages.base import timings
from stages.base.errors import InvalidInput
from stages.base.machine import processor_name
from stages.report import report
from tests.stages.evaluate.test_evaluate import save_model
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.root import ROOT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on digits with one working ONNX file and the report; the tests only add files to it."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (8,)}, epochs=1)
    save_model(run.root / "models/dense/model.onnx", (8, 8), 10)
    assert report.main(run.arguments()) == 0
    return run


@pytest.fixture
def run(finished: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run `finished`, as the current folder."""
    monkeypatch.chdir(finished.root)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return finished


@pytest.mark.farm
def test_figures_are_measured_and_the_page_stays(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Latencies are measured once, the fit time comes from the record of the training, and reports/ does not change."""
    page = (run.out / "index.html").read_bytes()
    timings.record("train", "dense", Path("models/dense/model.onnx"), {"fit_s": 12.5})
    assert inkflow(["report", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert processor_name() in output["facts"]["This machine"] and processor_name() in output["note"]
    figures = output["models"]["dense"]
    assert figures["fit_s"] == 12.5 and figures["one_ms"] > 0 and figures["images_per_s"] > 0
    assert machine_figures(Path())["models"]["dense"] == figures
    assert (run.out / "index.html").read_bytes() == page
    assert '"fit_s": 12.5' in Path(".inkflow/report/index.html").read_text()


@pytest.mark.parametrize(
    ("description", "noun"),
    [
        ('{"kind": "vector"}', "vector"),
        ("{}", "image"),
        ('{"kind": "x"}', "sample"),
        ("[]", "sample"),
        (None, "sample"),
    ],
)
def test_note_has_the_noun_of_the_data_set(run: Run, tmp_path: Path, description: str | None, noun: str) -> None:
    """The note on the latencies calls a sample what the data set has, and a sample where no description is at hand."""
    (tmp_path / "params.yaml").write_bytes((run.root / "params.yaml").read_bytes())
    if description is not None:
        (tmp_path / "data/raw").mkdir(parents=True)
        (tmp_path / "data/raw/dataset.json").write_text(description)
    assert machine_figures(tmp_path)["note"].startswith(f"One {noun} and batches: ")


def test_another_models_record_does_not_count(run: Run) -> None:
    """The record of a model with other bytes is ignored."""
    timings.record("train", "dense", Path("params.yaml"), {"fit_s": 99.0})
    assert "fit_s" not in machine_figures(Path())["models"]["dense"]


def test_results_of_another_commit_are_marked(tmp_path: Path) -> None:
    """The commit has a note unless dvc.lock records this page: its results are then those of another commit."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/index.html").write_text("<p>page</p>")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    record = {"path": "reports/index.html", "hash": "md5", "md5": hashlib.md5(b"<p>page</p>").hexdigest()}
    lock = {"schema": "2.0", "stages": {"download": {"cmd": "x"}, "report": {"cmd": "x", "outs": [record]}}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    for command in (["init", "-q"], ["add", "params.yaml", "dvc.lock"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    commit = describe(tmp_path)
    figures = machine_figures(tmp_path)
    assert figures["version"] == figures["facts"]["Commit"] == commit
    shown = subprocess.check_output(["git", "show", "-s", "--format=%cs"], cwd=tmp_path, text=True)
    assert figures["date"] == shown.strip()
    (tmp_path / "reports/index.html").write_text("<p>of another commit</p>")
    assert machine_figures(tmp_path)["facts"]["Commit"] == f"{commit}, not the results of this commit"


@pytest.mark.parametrize("lock", ["<<<<<<< HEAD\n a: [", "stages: 3", "[]", "stages: {report: 3}", None])
def test_missing_or_broken_lock(tmp_path: Path, lock: str | None) -> None:
    """Without a dvc.lock, or with a broken one, no page counts as recorded."""
    (tmp_path / "page").write_text("x")
    if lock is not None:
        (tmp_path / "dvc.lock").write_text(lock)
    assert not is_recorded(tmp_path, Path("page"))


def test_no_page_yet(tmp_path: Path) -> None:
    """A missing page, or one of another version, is an error that names the command to run."""
    with pytest.raises(InvalidInput, match="run `inkflow run` to write it"):
        fill_page(tmp_path, {})
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/index.html").write_text("<p>old</p>")
    with pytest.raises(InvalidInput, match="another version of Inkflow"):
        fill_page(tmp_path, {})


def test_unwritable_record_is_no_failure(tmp_path: Path) -> None:
    """If a file is in the place of the folder of records, the work continues without a record."""
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "timings").write_text("")
    timings.record("train", "dense", tmp_path / "model.onnx", {"fit_s": 1.0}, tmp_path / "timings")
    assert (tmp_path / "timings").read_text() == ""


def test_dirty_mark(tmp_path: Path) -> None:
    """The commit is marked if tracked files differ from it; outside of git there is none."""
    assert describe(tmp_path) == commit_date(tmp_path) == ""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    assert len(describe(tmp_path)) == 10
    (tmp_path / "file").write_text("two")
    assert describe(tmp_path).endswith(" with changes")
