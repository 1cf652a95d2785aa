"""A fault of the machine while own data are read is said as such: the file is sound."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from stages.base.errors import exit_with
from stages.own_data.program import HEADERS, main
from tests.stages.own_data.conftest import Add, Refuse
from tests.support.own_forms import samples, write_csv, write_parquet, write_pictures, write_svhn
from tests.support.root import ROOT

OPTIONS = '{"name": "own", "paths": ["%s"], "test_share": 0.1}'


@pytest.mark.parametrize("form", ["parquet", "mat"])
def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse, form: str) -> None:
    """If a reader gets no memory, the sentence is about memory, not about a damaged file."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise pa.ArrowMemoryError("malloc failed") if form == "parquet" else MemoryError

    monkeypatch.setattr(pq, "ParquetFile", fail)
    monkeypatch.setattr(scipy.io, "loadmat", fail)
    path, (images, labels) = tmp_path / f"a.{form}", samples(20, shape=(32, 32, 3))
    write_svhn(path, images, labels) if form == "mat" else write_parquet(path, images, labels.tolist())
    assert "there is not enough memory for the data" in refuse(path, test_share=0.1)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If a picture of a Parquet file cannot be unpacked to the disk, the file is not called damaged."""

    def fail() -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    images, labels = samples(20)
    path = write_parquet(tmp_path / "a.parquet", images, labels.tolist())
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", fail)
    assert exit_with(lambda: main([OPTIONS % path])) == 1
    assert capsys.readouterr().err == "error: No space left on device; free disk space, then run again\n"


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    """The data are written where nothing reads what is shown, as after `| head`."""
    path = write_csv(tmp_path / "a.csv", *samples(20, shape=(9, 9)))
    options = {"name": "own", "paths": [str(path)], "out": str(tmp_path / "a.npz"), "result": str(tmp_path / "a.json")}
    with subprocess.Popen(
        [sys.executable, "-m", "stages.own_data", json.dumps(options)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout and process.stderr
        process.stdout.close()
        assert (process.wait(240), process.stderr.read()) == (0, b"")
    assert (tmp_path / "a.npz").is_file() and (tmp_path / "a.json").is_file()


def test_data_that_grow_beyond_the_limit(tmp_path: Path, add: Add, refuse: Refuse) -> None:
    """Arrays that the stage `download` would refuse as too large are refused, however small their files are."""
    images, labels = samples(60, shape=(9, 9))
    write_pictures(tmp_path / "p", images, labels, "abc")
    coloured = np.stack([images[0], images[1], images[2]], -1)
    write_pictures(tmp_path / "p", coloured[None], labels[:1], "abc")  # in place of the first one
    limit = 60 * 3 * 81 + 60 + 4 * HEADERS
    assert "take 16,640 bytes as arrays (uint8), expected at most 16,639" in refuse(tmp_path / "p", max_bytes=limit - 1)
    assert add(tmp_path / "p", max_bytes=limit).entry["shape"] == [9, 9, 3]
    path = write_csv(tmp_path / "a.csv", images, labels)
    path.write_text(path.read_text().replace(",255", ",.5"))
    assert "as arrays (float32), expected at most 20,000; raise --max-bytes" in refuse(path, max_bytes=20_000)


def test_remedies_of_the_entry(tmp_path: Path, refuse: Refuse) -> None:
    """An error of the entry has the remedy of its key."""
    path = write_csv(tmp_path / "a.csv", *samples(30, shape=(9, 9)))
    assert "--pixels: Input should be a finite number, got inf" in refuse(path, pixels=[0, float("inf")])
    assert "convert the pixels, or give another range by --pixels" in refuse(path, pixels=[0, 1e7])
    assert "rename the classes, or name them by --class-names" in refuse(path, class_names=["a", "a", "b"])
