"""Digests of files, and versions of the libraries that compute and draw the report."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stages.report.records import unreadable

LIBRARIES = (
    "numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "matplotlib", "onnxruntime",
    "vl-convert-python",  # draws the charts, and gives the page its script
    "pillow",  # writes the images
)  # fmt: skip


@dataclass(frozen=True)
class FileDigest:
    """Name, size and SHA-256 of a file."""

    name: str
    size: int  # bytes
    sha256: str


def file_digest(path: Path) -> FileDigest:
    """Returns name, size and SHA-256 of the file `path`.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileDigest(path.name, path.stat().st_size, digest)
    except OSError as error:
        raise unreadable(path, error) from error


def library_versions() -> dict[str, str]:
    """Returns the versions of the libraries that compute the report's figures and draw its charts and images."""
    return {name: version(name) for name in LIBRARIES}
