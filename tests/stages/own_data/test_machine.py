"""A fault of the machine while own data are read is said as such: the file is sound."""

import errno
import os
import tempfile
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from stages.base.errors import exit_with
from stages.own_data.program import main
from tests.stages.own_data.conftest import Refuse
from tests.support.own_forms import samples, write_parquet, write_svhn

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
