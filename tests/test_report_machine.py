"""`inkflow report`: a copy of the page with this machine's figures, which never touches the tracked one."""

import json
import subprocess
from pathlib import Path

import pytest

from flows.cli import main as inkflow
from flows.report import fill, machine
from flows.versions import describe
from stages import report, timings
from stages.device import processor_name
from stages.errors import InvalidInput
from tests.report_data import Run, finish_run, small_digits
from tests.test_evaluate import save_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits, one model whose ONNX file works, and the report; the tests only add to it."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (8,)}, epochs=1)
    save_model(run.root / "models/dense/model.onnx", (8, 8), 10)
    assert report.main(run.arguments()) == 0
    return run


@pytest.fixture
def run(finished: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`finished`, as the current folder."""
    monkeypatch.chdir(finished.root)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return finished


def test_figures_are_measured_and_the_page_stays(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Latencies are measured once, fit time comes from the record of the training; reports/ is untouched."""
    page = (run.out / "index.html").read_bytes()
    timings.record("train", "dense", Path("models/dense/model.onnx"), {"fit_s": 12.5})
    assert inkflow(["report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert processor_name() in told["facts"]["This machine"] and processor_name() in told["note"]
    figures = told["models"]["dense"]
    assert figures["fit_s"] == 12.5 and figures["one_ms"] > 0 and figures["images_per_s"] > 0
    again = machine(Path())["models"]["dense"]
    assert again == figures
    assert (run.out / "index.html").read_bytes() == page
    assert '"fit_s": 12.5' in Path(".inkflow/report/index.html").read_text()


def test_another_models_record_does_not_count(run: Run) -> None:
    """A record of a model with other bytes is passed over."""
    timings.record("train", "dense", Path("params.yaml"), {"fit_s": 99.0})
    assert "fit_s" not in machine(Path())["models"]["dense"]


def test_no_page_yet(tmp_path: Path) -> None:
    """Without a report, or with one of another version, it is said what to do."""
    with pytest.raises(InvalidInput, match="run `inkflow run` to make it"):
        fill(tmp_path, {})
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/index.html").write_text("<p>old</p>")
    with pytest.raises(InvalidInput, match="another version of Inkflow"):
        fill(tmp_path, {})


def test_record_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    """Where there is a file in place of the folder, the work goes on without a record."""
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "timings").write_text("")
    timings.record("train", "dense", tmp_path / "model.onnx", {"fit_s": 1.0}, tmp_path / "timings")
    assert (tmp_path / "timings").read_text() == ""


def test_dirty_mark(tmp_path: Path) -> None:
    """The commit is told, with a mark where tracked files differ; outside of git there is none."""
    assert describe(tmp_path) == ""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    assert len(describe(tmp_path)) == 10
    (tmp_path / "file").write_text("two")
    assert describe(tmp_path).endswith(" with changes")
