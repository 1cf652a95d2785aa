"""Zip files that lie: their entries, and changes of their directory."""

import io
import struct
import zipfile
from collections.abc import Mapping

HUGE = 200_000_000  # bytes of zeros, which take 200 kB in a zip file


def entries_of(content: bytes) -> dict[str, bytes]:
    """Returns the entries of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zip_of(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns a zip file with these entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(dtype: str, shape: str, content: bytes, fortran: str = "False", version: int = 1, padding: int = 117) -> bytes:
    """Returns an npy file with this header, whatever it says."""
    text = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header = text.encode("utf-8").ljust(padding) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(header)) + header + content


def _record(content: bytes, name: str) -> int:
    """Returns the place of the entry `name` in the directory of a zip file."""
    place = content.index(b"PK\x01\x02")
    while content[place + 46 : place + 46 + len(name)] != name.encode():
        place = content.index(b"PK\x01\x02", place + 4)
    return place


def directory(
    content: bytes,
    name: str,
    size: int | None = None,
    crc: int | None = None,
    method: int | None = None,
    offset: int | None = None,
) -> bytes:
    """Returns a zip file whose directory says something else about the entry `name`."""
    changed, place = bytearray(content), _record(content, name)
    for value, start, length in ((size, 24, 4), (crc, 16, 4), (method, 10, 2), (offset, 42, 4)):
        if value is not None:
            changed[place + start : place + start + length] = value.to_bytes(length, "little")
    return bytes(changed)


def encrypted(content: bytes, name: str) -> bytes:
    """Returns a zip file that says that the entry `name` is encrypted, in both of its places."""
    changed, place = bytearray(content), _record(content, name)
    local = int.from_bytes(content[place + 42 : place + 46], "little")
    changed[place + 8] |= 1
    changed[local + 6] |= 1
    return bytes(changed)


def overlapping(content: bytes, name: str, other: str) -> bytes:
    """Returns a zip file in which the entry `name` is where `other` is."""
    place = _record(content, other)
    return directory(content, name, offset=int.from_bytes(content[place + 42 : place + 46], "little"))


def zip64(content: bytes, name: str, size: int) -> bytes:
    """Returns a zip file whose directory has this size of the entry `name` in a field of zip64."""
    place = _record(content, name)
    start, extra = place + 46 + len(name), struct.pack("<HHQ", 1, 8, size)
    changed = bytearray(directory(content, name, size=0xFFFFFFFF))
    old = int.from_bytes(content[place + 30 : place + 32], "little")
    changed[place + 30 : place + 32] = len(extra).to_bytes(2, "little")
    changed[start : start + old] = extra
    end = changed.rindex(b"PK\x05\x06")
    length = int.from_bytes(changed[end + 12 : end + 16], "little") + len(extra) - old
    changed[end + 12 : end + 16] = length.to_bytes(4, "little")
    return bytes(changed)
