"""The batch job `score` beside other jobs, and with its results in the folder that it scores."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages.base.errors import exit_with
from stages.predict import score
from stages.predict.model_standing import file_sha256
from stages.watch.record import read_record, record_path, watch_folder
from tests.support.pictures import encoded, scan, write_reader
from tests.support.root import ROOT
from tests.support.vectors import write_vector_model
from tests.support.watched import write_watched_reader

LOCK = Path("scores/.scores.parquet.lock")
KILLED = """
import os, signal, sys
from pathlib import Path
from stages.predict import score
move = Path.replace
def move_and_die(source, target):
    move(source, target)
    if Path(target).name == "scores.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
Path.replace = move_and_die
score.main(sys.argv[1:])
"""


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


def test_images_in_the_table_are_watched_whatever_ends_the_job(work: Path) -> None:
    """A job that is killed as soon as the table has its rows has added its images to the record of the model."""
    model = write_watched_reader(work / "models/reader/model.onnx")
    (work / ".dvc").mkdir()
    write_digits(work, "a")
    arguments = ["--model=reader", "--folder=a", "--out=scores/scores.parquet"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], stderr=subprocess.PIPE, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert exit_with(lambda: score.main(arguments)) == 0  # which skips the file
    assert len(pq.read_table("scores/scores.parquet")) == 1
    record = read_record(record_path(watch_folder(), file_sha256(model)))
    assert record is not None and record.all_images == 1
