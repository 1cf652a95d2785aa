"""Where a result comes from: digests of files, versions of programs."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stages.report.records import unreadable

PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "matplotlib", "onnxruntime")


@dataclass(frozen=True)
class File:
    """A file by what it holds."""

    name: str
    size: int  # bytes
    sha256: str


def describe_file(path: Path) -> File:
    """Size and digest of the file `path`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return File(path.name, path.stat().st_size, digest)
    except OSError as error:
        raise unreadable(path, error) from error


def versions() -> dict[str, str]:
    """The programs that work out the report's numbers."""
    return {name: version(name) for name in PACKAGES}
