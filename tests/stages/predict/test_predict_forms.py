"""What `inkflow predict` writes: hostile names of classes, terminals of other alphabets, Parquet, the progress bar."""

import csv
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.cli.main import main
from stages.base.errors import exit_with
from tests.support.pictures import encoded, npy, scan, template, write_reader
from tests.support.root import ROOT


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `reader`."""
    monkeypatch.chdir(tmp_path)
    write_reader(tmp_path / "models/reader/model.onnx")
    return tmp_path


def write_digits(work: Path, count: int) -> None:
    """So many images of the ten digits in turn, as x.npy."""
    ten = np.stack([template(digit) for digit in range(10)]).astype(np.uint8)
    (work / "x.npy").write_bytes(npy(np.resize(ten, (count, 28, 28))))


def test_hostile_class_names(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of classes that a model's file holds are escaped in CSV and Parquet: no colours, no lone surrogate."""
    write_reader(work / "models/hostile/model.onnx", ["\x1b[31m", "\ud800", *"23456789"])
    write_digits(work, 10)
    expected = ["\\x1b[31m", "\\ud800", *"23456789"]
    assert exit_with(lambda: main(["predict", "hostile", "x.npy", "--csv"])) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in table] == expected
    assert {row["runner_up"] for row in table} <= set(expected)
    assert exit_with(lambda: main(["predict", "hostile", "x.npy", "--parquet", "x.parquet"])) == 0
    assert pq.read_table("x.parquet")["label"].to_pylist() == expected


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)], ids=["text", "csv", "json"])
def test_a_terminal_of_another_alphabet(work: Path, form: tuple[str, ...]) -> None:
    """Where standard output knows Latin letters alone, the others in names come as escapes."""
    for name in ("zwölf 数.png", "bad 数.png"):
        (work / name).write_bytes(encoded(scan(7, 1), "PNG") if name[0] == "z" else b"")
    command = [sys.executable, "-m", "flows", "predict", "reader", "zwölf 数.png", "bad 数.png", *form]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    run = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=60)
    said = "zw\\u00f6lf \\u6570.png" if form == ("--json",) else "zwölf \\u6570.png"
    assert said.encode("latin-1") in run.stdout
    assert run.returncode == 2 and b"Traceback" not in run.stderr
    assert b"bad \\u6570.png: is empty" in run.stderr


def test_parquet_has_large_row_groups(work: Path) -> None:
    """25,000 rows lie in groups of some 10,000, all of them, in order; a bad file beside them makes no group."""
    write_digits(work, 25_000)
    (work / "bad.png").write_bytes(b"")
    assert exit_with(lambda: main(["predict", "reader", "x.npy", "bad.png", "--parquet", "x.parquet"])) == 2
    file = pq.ParquetFile("x.parquet")
    assert file.metadata.num_row_groups == 3
    table = file.read().to_pydict()
    assert table["name"] == [f"x.npy[{number}]" for number in range(25_000)]
    assert table["label"] == [str(number % 10) for number in range(25_000)]


def at_a_terminal(work: Path, *arguments: str) -> str:
    """What `inkflow predict reader x.npy` shows where output and errors both go to a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flows", "predict", "reader", "x.npy", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, cwd=work, env=environment, stdout=theirs, stderr=theirs, stdin=theirs) as program:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert program.returncode == 0
    return shown.decode()


def _read(terminal: int) -> bytes:
    """What comes next; nothing when the program has ended, which Linux says with an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_progress_is_shown_where_answers_do_not_go_by(work: Path) -> None:
    """At a terminal `--parquet` shows how far it is, as nothing else is printed; answers on the terminal are enough."""
    write_digits(work, 2_000)
    assert "/2000" in at_a_terminal(work, "--parquet", "x.parquet")
    assert "/2000" not in at_a_terminal(work, "--csv")
