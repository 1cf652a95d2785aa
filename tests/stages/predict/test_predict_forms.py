"""The output of `inkflow predict`: hostile class names, limited encodings, Parquet, and the progress bar."""

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
    """Writes `count` images of the ten digits in turn to x.npy."""
    ten = np.stack([template(digit) for digit in range(10)]).astype(np.uint8)
    (work / "x.npy").write_bytes(npy(np.resize(ten, (count, 28, 28))))


def test_hostile_class_names(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Class names from a model's file are escaped in CSV and Parquet: no control sequences, no lone surrogates."""
    write_reader(work / "models/hostile/model.onnx", ["\x1b[31m", "\ud800", *"23456789"])
    write_digits(work, 10)
    expected = ["\\x1b[31m", "\\ud800", *"23456789"]
    assert exit_with(lambda: main(["predict", "hostile", "x.npy", "--csv"])) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in table] == expected
    assert {row["runner_up"] for row in table} <= set(expected)
    assert exit_with(lambda: main(["predict", "hostile", "x.npy", "--parquet", "x.parquet"])) == 0
    assert pq.read_table("x.parquet")["label"].to_pylist() == expected


@pytest.mark.cases(2)
@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)], ids=["text", "json", "csv"])
def test_output_encoding_without_some_letters(work: Path, form: tuple[str, ...]) -> None:
    """If standard output can encode only Latin letters, other letters in names are escaped."""
    for name in ("zwölf 数.png", "bad 数.png"):
        (work / name).write_bytes(encoded(scan(7, 1), "PNG") if name[0] == "z" else b"")
    command = [sys.executable, "-m", "flows", "predict", "reader", "zwölf 数.png", "bad 数.png", *form]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    run = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=240)
    name = "zw\\u00f6lf \\u6570.png" if form == ("--json",) else "zwölf \\u6570.png"
    assert name.encode("latin-1") in run.stdout
    assert run.returncode == 2 and b"Traceback" not in run.stderr
    assert b"bad \\u6570.png: is empty" in run.stderr


def test_parquet_has_large_row_groups(work: Path) -> None:
    """25,000 rows are written in order in three row groups of about 10,000; an invalid file adds none."""
    write_digits(work, 25_000)
    (work / "bad.png").write_bytes(b"")
    assert exit_with(lambda: main(["predict", "reader", "x.npy", "bad.png", "--parquet", "x.parquet"])) == 2
    file = pq.ParquetFile("x.parquet")
    assert file.metadata.num_row_groups == 3
    table = file.read().to_pydict()
    assert table["name"] == [f"x.npy[{number}]" for number in range(25_000)]
    assert table["label"] == [str(number % 10) for number in range(25_000)]


def terminal_output(work: Path, *arguments: str) -> str:
    """Runs `inkflow predict reader x.npy` in a terminal, and returns everything that the terminal shows."""
    reader, terminal = pty.openpty()
    command = [sys.executable, "-m", "flows", "predict", "reader", "x.npy", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        command, cwd=work, env=environment, stdout=terminal, stderr=terminal, stdin=terminal
    ) as program:
        os.close(terminal)
        output = b""
        while block := _read(reader):
            output += block
    os.close(reader)
    assert program.returncode == 0
    return output.decode()


def _read(reader: int) -> bytes:
    """Returns the next bytes, none after the end of the program, which Linux reports as an error."""
    try:
        return os.read(reader, 65536)
    except OSError:
        return b""


def test_progress_bar_only_without_results_on_the_terminal(work: Path) -> None:
    """In a terminal, `--parquet` shows a progress bar; a run that prints results to the terminal shows none."""
    write_digits(work, 2_000)
    assert "/2000" in terminal_output(work, "--parquet", "x.parquet")
    assert "/2000" not in terminal_output(work, "--csv")
