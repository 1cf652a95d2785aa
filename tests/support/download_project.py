"""What the download tests share beside their fixtures."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.download import download
from tests.support.tiny_data import snapshot

RAW = Path("data/raw")
ARGUMENTS = ["--out", str(RAW), "--timeout", "0.4"]
UNAVAILABLE, INVALID, FAILED = 69, 2, 1

Refusal = Callable[[], tuple[int, str]]


def outputs() -> dict[str, bytes]:
    """Run the stage, which must succeed; what it wrote."""
    assert download.main(ARGUMENTS) == 0
    return snapshot(RAW)


def parts() -> list[Path]:
    """What unfinished downloads left."""
    return sorted(Path(".inkflow/downloads").glob("*"))


def in_mirror(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name `folder` as the mirror; the file that it is to hold."""
    monkeypatch.setenv("INKFLOW_MIRROR", str(folder))
    return folder / "tiny.npz"
