"""Headers of npy files that claim impossible shapes and types."""

import struct
from pathlib import Path

import pytest

from stages.base.errors import DataError
from stages.data.npz import open_npy
from stages.samples.npy_reader import NpyReader


def write_npy(path: Path, dtype: str, shape: str, content: bytes) -> Path:
    """Writes a npy file with this header, whatever it says."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content)
    return path


@pytest.mark.parametrize(
    ("dtype", "shape", "content"),
    [
        ("'|u1'", "(True, True, 20)", bytes(20)),
        ("'|u1'", f"(0, {2**70})", b""),
        ("'|u1'", f"(0, {2**62}, {2**62})", b""),
        ("'|u1'", f"(0, {2**40}, {2**40})", b""),
        ("'<f4'", f"({2**40}, 0)", b""),
        ("'<f2'", f"(0, {2**12}, {2**12}, 2)", b""),
        ("'|u1'", f"({2**63}, 2)", b""),
        ("'|u1'", f"({'1,' * 33})", b"a"),
        ("'|u1'", "(-1, -20)", bytes(20)),
        ("'|u1'", "(2.0, 10)", bytes(20)),
        ("'|S0'", "(10, 28, 28)", b""),
        ("('|u1', (2, 10))", "(1,)", bytes(20)),
    ],
)
def test_impossible_headers(tmp_path: Path, dtype: str, shape: str, content: bytes) -> None:
    """A header whose shape or type is impossible gives an error of the data, before anything is allocated."""
    with pytest.raises(DataError):
        open_npy(write_npy(tmp_path / "x.npy", dtype, shape, content), "x", 1000)


def test_arrays_without_content(tmp_path: Path) -> None:
    """An array of no images of a usual size is read, and is empty."""
    array = open_npy(write_npy(tmp_path / "x.npy", "'<f4'", "(0, 4096, 4096)", b""), "x", 1000)
    assert array.read().shape == (0, 4096, 4096) and list(array.chunks(10)) == []


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"\x80\x04", b"\x93NUMPY"], ids=range(4))
def test_other_files_in_prepared_data(tmp_path: Path, content: bytes) -> None:
    """The reader of prepared arrays has its own errors for an empty file, a zip file, a pickle and a cut header."""
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError):
        NpyReader(tmp_path / "x.npy")


def test_impossible_header_in_prepared_data(tmp_path: Path) -> None:
    """The reader of prepared arrays has its own errors for an impossible shape."""
    with pytest.raises((ValueError, OSError)):
        NpyReader(write_npy(tmp_path / "x.npy", "'|u1'", "(True, 'a')", bytes(20)))
