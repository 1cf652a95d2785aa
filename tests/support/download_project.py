"""Helpers of the download tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.download import download
from tests.support.tiny_data import snapshot

RAW = Path("data/raw")
ARGUMENTS = ["--out", str(RAW), "--timeout", "60"]
IMPATIENT = ("--timeout", "0.4")  # for servers that are too slow
UNAVAILABLE, INVALID, FAILED = 69, 2, 1

RunFailing = Callable[..., tuple[int, str]]


def run_download() -> dict[str, bytes]:
    """Runs the stage, which must succeed, and returns its output files."""
    assert download.main(ARGUMENTS) == 0
    return snapshot(RAW)


def parts() -> list[Path]:
    """Returns the files of unfinished downloads."""
    return sorted(Path(".inkflow/downloads").glob("*"))


def set_mirror(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets INKFLOW_MIRROR to `folder`, and returns the path of the data set in it."""
    monkeypatch.setenv("INKFLOW_MIRROR", str(folder))
    return folder / "tiny.npz"
