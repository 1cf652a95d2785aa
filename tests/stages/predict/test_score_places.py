"""The batch job `score` beside other jobs, and with its results in the folder that it scores."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages.base.errors import exit_with
from stages.predict import score
from tests.support.pictures import encoded, scan, write_reader
from tests.support.root import ROOT
from tests.support.vectors import write_vector_model

LOCK = Path("scores/.scores.parquet.lock")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the models `reader` of digits and `three` of vectors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_reader(tmp_path / "models/reader/model.onnx")
    write_vector_model(tmp_path / "models/three/model.onnx")
    return tmp_path


def start(folder: str) -> "subprocess.Popen[str]":
    """Starts the job in a process of its own."""
    command = [sys.executable, "-m", "stages.predict.score", "--model=reader", f"--folder={folder}"]
    return subprocess.Popen([*command, "--out=scores/scores.parquet"], stderr=subprocess.PIPE, text=True)


def write_digits(work: Path, folder: str) -> None:
    """Writes a picture of a digit into each of two folders."""
    (work / folder).mkdir()
    (work / folder / "two.png").write_bytes(encoded(scan(2, 3), "PNG"))


def test_two_jobs_add_to_one_table(work: Path) -> None:
    """While another process holds the lock of the table, a job waits, and says so; no row of either is lost."""
    for folder in ("a", "b"):
        write_digits(work, folder)
    (work / "scores").mkdir()
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jobs = [start("a"), start("b")]
        for job in jobs:
            assert any("waiting for another process" in line for line in job.stderr or ())
        assert not (work / "scores/scores.parquet").exists()
        LOCK.unlink()  # as a job does at its end
    for job in jobs:
        job.communicate(timeout=240)
        assert job.returncode == 0
    rows = pq.read_table("scores/scores.parquet").to_pylist()
    assert sorted((row["folder"], row["file"]) for row in rows) == [("a", "two.png"), ("b", "two.png")]
    assert {path.name for path in (work / "scores").iterdir()} == {"scores.parquet", "scores.errors.csv"}


def test_results_in_the_scored_folder_are_no_input(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A job of vectors does not read its own list of rejected files, nor names its table as left out."""
    (work / "inbox").mkdir()
    (work / "inbox/a.csv").write_text("1,2,3\n")
    (work / "inbox/bad.csv").write_text("1,x,3\n")
    for scored in (1, 0):
        assert (
            exit_with(lambda: score.main(["--model=three", "--folder=inbox", "--out=./inbox/../inbox/s.parquet"])) == 0
        )
        output = capsys.readouterr()
        assert f"{scored} file{'s' * (scored != 1)} scored, {1 - scored} scored before, 1 could not" in output.out
        assert "left out" not in output.err
    assert (work / "inbox/s.errors.csv").read_text().startswith("name,reason\nbad.csv[0],")
