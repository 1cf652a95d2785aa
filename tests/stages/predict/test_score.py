"""The batch job `score`: writes a Parquet table, scores no file twice, and continues after invalid files."""

import csv
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.base.errors import DataError, exit_with
from stages.predict import score
from stages.predict.model_standing import file_sha256
from tests.support.pictures import draw, encoded, garbage, npy, scan, template, write_model, write_reader
from tests.support.prefect_api import api
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `reader` and three valid files in `inbox`."""
    monkeypatch.chdir(tmp_path)
    write_reader(tmp_path / "models/reader/model.onnx")
    (tmp_path / "inbox/deep").mkdir(parents=True)
    (tmp_path / "inbox/two.png").write_bytes(encoded(scan(2, 3), "PNG"))
    (tmp_path / "inbox/deep/five.jpg").write_bytes(encoded(scan(5, 4), "JPEG"))
    (tmp_path / "inbox/x.npy").write_bytes(npy(template(7)[None].astype("uint8")))
    return tmp_path


def run(*arguments: str, model: str = "reader") -> int:
    """Runs the program in this process and returns the exit code."""
    return exit_with(
        lambda: score.main([f"--model={model}", "--folder=inbox", "--out=scores/scores.parquet", *arguments])
    )


def table() -> list[dict[str, object]]:
    """Returns the rows of the table."""
    rows: list[dict[str, object]] = pq.read_table("scores/scores.parquet").to_pylist()
    return rows


def errors() -> list[list[str]]:
    """Returns the lines of the list of rejected files."""
    with Path("scores/scores.errors.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_folder_becomes_a_table(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a row with the prediction of each image, and the SHA-256 of its file."""
    assert run() == 0
    assert capsys.readouterr().out == "score: 3 files scored, 0 scored before, 0 could not be scored\n"
    assert {(row["file"], row["image"], row["label"]) for row in table()} == {
        ("two.png", "two.png", "2"),
        ("deep/five.jpg", "deep/five.jpg", "5"),
        ("x.npy", "x.npy[0]", "7"),
    }
    assert {row["sha256"] for row in table()} == {file_sha256(path) for path in work.glob("inbox/**/*.*")}
    assert errors() == [["name", "reason"]]


def test_nothing_is_scored_twice(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is scored again only after its content, the model or --raw changed; earlier rows stay."""
    assert run() == 0
    first = table()
    assert run() == 0
    assert table() == first
    (work / "inbox/two.png").write_bytes(encoded(scan(3, 3), "PNG"))
    (work / "inbox/one.png").write_bytes(encoded(scan(1, 3), "PNG"))
    (work / "inbox/x.npy").unlink()
    assert run() == 0
    assert table()[:3] == first
    assert [(row["file"], row["label"]) for row in table()[3:]] == [("one.png", "1"), ("two.png", "3")]
    write_model(work / "models/other/model.onnx", np.zeros((784, 10)), np.zeros(10))
    assert run(model="other") == 0
    assert run("--raw", model="other") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "score: 0 files scored, 3 scored before, 0 could not be scored"
    assert lines[2] == "score: 2 files scored, 1 scored before, 0 could not be scored"
    assert lines[3] == "score: 3 files scored, 0 scored before, 0 could not be scored"
    assert lines[4] == "score: 0 files scored, 0 scored before, 3 could not be scored"  # none has the model's size


def test_bad_files_are_listed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid files are listed with one sentence each, tried again at the next run, and unlisted once they are gone."""
    os.mkfifo(work / "inbox/pipe.png")
    files = [(name, content) for name, content in garbage() if name.endswith((".png", ".npy"))][:60]
    for number, (name, content) in enumerate(files):
        (work / f"inbox/{number:02}{name.replace('/', '_')}").write_bytes(content)
    for scored in (3, 0):
        assert run() == 0
        counts = f"{scored} files scored, {3 - scored} scored before, 61 could not be scored"
        assert f"score: {counts}" in capsys.readouterr().out
        assert len(table()) == 3
        listed = errors()
        assert len(listed) == 62
        assert all(name and reason and (name + reason).isprintable() for name, reason in listed)
    for path in work.glob("inbox/[0-9]*"):
        path.unlink()
    (work / "inbox/pipe.png").unlink()
    assert run() == 0
    assert errors() == [["name", "reason"]]


def test_folders_in_one_table(work: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each row names its folder, in one spelling; files of the same name in two folders are both scored."""
    outside = tmp_path_factory.mktemp("outside")
    for folder in (work / "inbox2", outside):
        folder.mkdir(exist_ok=True)
        (folder / "two.png").write_bytes((work / "inbox/two.png").read_bytes())
    for name in ("inbox", "inbox2", f"{work}/inbox2", "./inbox2/../inbox2", str(outside)):
        assert run(f"--folder={name}") == 0
    assert [row["folder"] for row in table() if row["file"] == "two.png"] == ["inbox", "inbox2", str(outside)]


def test_table_of_an_earlier_version(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table without folders is extended; its files are not scored again."""
    assert run() == 0
    path = work / "scores/scores.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["folder"]), path)
    (work / "inbox/one.png").write_bytes(encoded(scan(1, 3), "PNG"))
    assert run() == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("score: 1 file scored, 3 scored before")
    assert [row["folder"] for row in table()] == [None, None, None, "inbox"]


@pytest.mark.parametrize("name", ["x.csv", "x", "x.parquet.gz", ".parquet"])
def test_table_is_a_parquet_file(work: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Another format than Parquet is refused, before anything is scored."""
    assert run(f"--out={name}") == 2
    assert f"{name}: the table is a Parquet file, expected a name that ends in .parquet" in capsys.readouterr().err
    assert not (work / name).exists()


def test_hostile_class_names(work: Path) -> None:
    """Class names from a model's file are escaped, so that any name can be written and read."""
    write_reader(work / "models/hostile/model.onnx", ["\x1b[31m", "\ud800", *"23456789"])
    (work / "inbox/one.png").write_bytes(encoded(scan(1, 3), "PNG"))
    (work / "inbox/zero.png").write_bytes(encoded(scan(0, 3), "PNG"))
    assert run(model="hostile") == 0
    labels = {str(row["file"]): row["label"] for row in table()}
    assert (labels["zero.png"], labels["one.png"], labels["two.png"]) == ("\\x1b[31m", "\\ud800", "2")
    assert all(str(row["runner_up"]).isprintable() for row in table())


def test_empty_inbox(work: Path) -> None:
    """An empty folder gives an empty table; a missing folder is an error."""
    for path in work.glob("inbox/**/*.*"):
        path.unlink()
    assert run() == 0
    assert table() == []
    (work / "inbox/deep").rmdir()
    (work / "inbox").rmdir()
    assert run() == 2


def test_foreign_result_is_left_alone(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An existing file that is not a table of results is an error and stays unchanged."""
    (work / "scores").mkdir()
    for content in (b"not parquet", None):
        if content is None:
            pq.write_table(pa.table({"a": [1]}), work / "scores/scores.parquet")
        else:
            (work / "scores/scores.parquet").write_bytes(content)
        before = snapshot(work / "scores")
        assert run() == 2
        assert "move it away" in capsys.readouterr().err
        assert snapshot(work / "scores") == before


def _not_utf8(path: Path) -> None:
    text = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pq.read_table(path).slice(0, 1).drop_columns(["file"]).append_column("file", text), path)


def _twice(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("file", table["file"]), path)


@pytest.mark.parametrize("damage", [_not_utf8, _twice])
def test_damaged_table_is_left_alone(
    work: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    """A table of results with bytes that are no text, or with a column twice, is an error and stays unchanged."""
    assert run() == 0
    damage(work / "scores/scores.parquet")
    before = snapshot(work / "scores")
    capsys.readouterr()
    assert run() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: scores/scores.parquet: ") and "move it away, then run again" in error
    assert snapshot(work / "scores") == before


@pytest.mark.parametrize("times", [120, pytest.param(1000, marks=pytest.mark.farm)])
def test_any_changed_byte_of_the_table_is_an_error_or_none(work: Path, times: int) -> None:
    """Whatever byte of the table changes, it is read, or an error of one sentence names it."""
    assert run() == 0
    path = work / "scores/scores.parquet"
    content, chance, codes = path.read_bytes(), random.Random(1), set()
    for _ in range(times):
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([chance.randrange(256)]) + content[place + 1 :])
        try:
            score._read_table(path).to_pylist()
            codes.add(0)
        except DataError as error:
            codes.add(2)
            assert str(error).count("\n") == 0 and "move it away" in str(error)
    assert codes == {0, 2}


@pytest.mark.farm
@pytest.mark.server
@pytest.mark.slow
def test_flow(work: Path, prefect_url: str) -> None:
    """The flow `score` ends Completed with the counts and the list of invalid files, and Failed with the error.

    Its artifact has the counts, the path of the table, and each invalid file with the reason.
    """
    (work / "inbox/bad.png").write_bytes(b"")
    (work / "inbox/$(touch harm) 'x'.png").write_bytes(encoded(draw(4), "PNG"))
    code = (
        "import sys; from flows.score import score\n"
        "for folder in ('inbox', 'no such; folder'):\n"
        "    state = score('reader', folder=folder, return_state=True)\n"
        "    print(state.name, state.message, sep='|', file=sys.stderr)\n"
    )
    root = str(ROOT)
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PYTHONPATH": root, "PREFECT_HOME": str(work / "home")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    lines = [line for line in ended.stderr.splitlines() if line.startswith(("Completed|", "Failed|"))]
    counts = "4 files scored, 0 scored before, 1 could not be scored"
    assert lines[0] == f"Completed|{counts}, see scores/scores.errors.csv"
    text = api(prefect_url, "GET", "/artifacts/inkflow-scores/latest")["data"]
    assert all(part in text for part in (counts, str(work / "scores/scores.parquet"), "- `bad.png`: "))
    assert lines[1].startswith("Failed|score failed (exit code 2): no such; folder: is not a folder")
    assert len(table()) == 4
    assert not (work / "harm").exists()
