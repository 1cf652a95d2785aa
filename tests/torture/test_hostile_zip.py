"""Zip files and npy headers that lie: every reader of npz and npy files refuses them in one sentence."""

import io
import json
import os
import random
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from flows.dvc_repo.inotify import FileOpenWatch
from stages.base.errors import InkflowError
from stages.data.config import Dataset
from stages.data.datasets import check_shape_and_range, read_arrays
from stages.own_data.program import main as add_data
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import read_images
from stages.samples.npy_reader import NpyReader
from stages.verify.compare_files import Verdict, compare
from tests.support.hostile_zip import HUGE, directory, encrypted, entries_of, npy, overlapping, zip64, zip_of
from tests.support.tiny_data import save
from tests.torture.conftest import Rounds, Try
from tests.torture.support.watched import watched

SEED = 17
ABSOLUTE = f"{tempfile.gettempdir()}/inkflow-hostile-ran-{os.getpid()}"
CANARIES = ("../../outside/ran", "../outside/ran", "../outside/ran.npy", "outside", ABSOLUTE, "ran")
LIMIT = 20_000_000  # bytes that a file may unpack to
MEMORY = 80_000_000  # bytes that a reader may have allocated at once; verify has a bound of its own
MAX_SENTENCE = 500
X, Y = "x_train.npy", "y_train.npy"

Make = Callable[[dict[str, bytes]], bytes]


def changed(**entries: bytes) -> Make:
    """Returns a function that makes an npz file with other entries; `x_train` stands for x_train.npy."""
    return lambda good: zip_of(good | {f"{name}.npy": content for name, content in entries.items()})


def added(name: str, content: bytes = b"evil") -> Make:
    """Returns a function that adds an entry."""
    return lambda good: zip_of(good | {name: content})


def twice(good: dict[str, bytes]) -> bytes:
    """Two entries of one name, of which readers take one or the other."""
    file = io.BytesIO(zip_of(good))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr(X, npy("'|u1'", "(40, 8, 9)", bytes(2_880)))
    return file.getvalue()


def link(good: dict[str, bytes]) -> bytes:
    """An entry that is a symbolic link to a file outside."""
    file = io.BytesIO(zip_of({name: content for name, content in good.items() if name != X}))
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo(X)
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "../outside/secret")
    return file.getvalue()


def nested(good: dict[str, bytes]) -> bytes:
    """A zip file of zip files of zeros."""
    inner = zip_of({"a.npy": bytes(HUGE)})
    return zip_of(good | {X: zip_of({f"{number}.npy": inner for number in range(20)})})


def bomb(good: dict[str, bytes]) -> bytes:
    """An array of zeros that is far larger than the file."""
    return changed(x_train=npy("'|u1'", "(8, 5000, 5000)", bytes(HUGE)))(good)


# Files that have to be refused, for their directory or for the header of an array.
ZIPS: dict[str, Make] = {
    "a bomb": bomb,
    "a bomb that says that it is small": lambda good: directory(bomb(good), X, size=2_000),
    "a nested bomb": nested,
    "entries that overlap": lambda good: overlapping(zip_of(good, zipfile.ZIP_STORED), X, Y),
    "two entries of one name": twice,
    "a link": link,
    "encrypted": lambda good: encrypted(zip_of(good), X),
    "a size of 4 GB": lambda good: directory(zip_of(good), X, size=0xFFFFFFF0),
    "a zip64 size of 16 EB": lambda good: zip64(zip_of(good), X, 2**64 - 1),
    "a zip64 size that is negative": lambda good: zip64(zip_of(good), X, 2**63),
    "a zip64 size without its field": lambda good: directory(zip_of(good), X, size=0xFFFFFFFF),
    "a wrong checksum": lambda good: directory(zip_of(good), X, crc=1),
    "an unknown compression": lambda good: directory(zip_of(good), X, method=99),
    "bzip2": lambda good: zip_of(good, zipfile.ZIP_BZIP2),
    "an entry beyond the end": lambda good: directory(zip_of(good), X, offset=0xFFFFFF),
    "half a file": lambda good: zip_of(good)[: len(zip_of(good)) // 2],
    "no directory": lambda good: zip_of(good)[:-60],
    "a comment of 64 kB behind half a file": lambda good: zip_of(good)[:-22] + b"PK\5\6" + bytes(16) + b"\xff\xff",
    "no entries": lambda _: zip_of({}),
    "not a zip file": lambda _: b"PK no zip file",
}
HEADERS: dict[str, Make] = {
    "a huge shape": changed(x_train=npy("'|u1'", f"({2**40}, 8, 9)", bytes(2_880))),
    "a shape beyond numbers": changed(x_train=npy("'|u1'", f"({10**30}, 8, 9)", bytes(2_880))),
    "a shape of nothing and too much": changed(x_train=npy("'|u1'", f"(0, {2**62}, {2**62})", b"")),
    "a shape of nothing and much": changed(x_train=npy("'|u1'", f"(0, {2**40}, {2**40})", b"")),
    "rows of nothing": changed(x_train=npy("'<f4'", f"({2**40}, 0)", b"")),
    "a negative shape": changed(x_train=npy("'|u1'", "(-40, -8, 9)", bytes(2_880))),
    "a shape of truths": changed(x_train=npy("'|u1'", "(True, 40, 72)", bytes(2_880))),
    "a shape of fractions": changed(x_train=npy("'|u1'", "(40.0, 8, 9)", bytes(2_880))),
    "a shape of texts": changed(x_train=npy("'|u1'", "('40', 8, 9)", bytes(2_880))),
    "no shape": changed(x_train=npy("'|u1'", "()", bytes(1))),
    "a shape of other digits": changed(x_train=npy("'|u1'", "(\u0664\u0660, 8, 9)", bytes(2_880))),
    "100 axes": changed(x_train=npy("'|u1'", f"({'1, ' * 100})", bytes(1))),
    "objects": changed(x_train=npy("'|O'", "(40, 8, 9)", b"cos\nsystem\n(S'touch ran'\ntR." + bytes(9_000))),
    "objects in a struct": changed(x_train=npy("[('a', '|O')]", "(40, 8, 9)", bytes(23_040))),
    "text of no length": changed(x_train=npy("'|S0'", "(40, 8, 9)", b"")),
    "an array in each element": changed(x_train=npy("('|u1', (8, 9))", "(40,)", bytes(2_880))),
    "a type that is code": changed(x_train=npy("__import__('os').system('touch ran')", "(40, 8, 9)", bytes(2_880))),
    "a type of no name": changed(x_train=npy("'evil'", "(40, 8, 9)", bytes(2_880))),
    "the wrong byte order": changed(x_train=npy("'>f8'", "(40, 8, 9)", b"\xff" * 23_040)),
    "Fortran order": changed(x_train=npy("'|u1'", "(40, 8, 9)", bytes(2_880), fortran="True") + b"1"),
    "an order that is no truth": changed(x_train=npy("'|u1'", "(40, 8, 9)", bytes(2_880), fortran="[]")),
    "another magic": changed(x_train=b"\x93NUMPX" + npy("'|u1'", "(40, 8, 9)", bytes(2_880))[6:]),
    "version 9": changed(x_train=npy("'|u1'", "(40, 8, 9)", bytes(2_880), version=9)),
    "a header of 2 GB": changed(x_train=b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + b"{" * 500),
    "a header of 60 kB": changed(x_train=npy("'|u1'", "(40, 8, 9)", bytes(2_880), padding=60_000)),
    "a header nested deep": changed(x_train=b"\x93NUMPY\1\0\xe8\3" + b"(" * 1_000),
    "a header that is cut": changed(x_train=b"\x93NUMPY\1\0\xe8\3{'descr'"),
    "a header with more keys": changed(x_train=npy("'|u1', 'a': 1", "(40, 8, 9)", bytes(2_880))),
    "no bytes": changed(x_train=b""),
    "too few bytes": changed(x_train=npy("'|u1'", "(40, 8, 9)", bytes(2_879))),
    "too many bytes": changed(x_train=npy("'|u1'", "(40, 8, 9)", bytes(2_881))),
}
REFUSED = ZIPS | HEADERS
# Entries that are not arrays of the data set: they are not read, and nothing is unpacked to a file.
IGNORED: dict[str, Make] = {
    "a name that climbs out": added("../../outside/ran"),
    "an absolute name": added(ABSOLUTE),
    "a name of Windows": added("..\\..\\outside\\ran.npy"),
    "a name with line ends and colours": added("a\n\x1b[31m.txt"),
    "another bomb beside": lambda good: added("other.txt", bytes(HUGE))(good),
}
# What a reader does in another way than the others.
READ: dict[tuple[str, str], str] = {
    ("pictures", "a bomb"): "it is 8 large pictures, read one at a time",
    ("pictures", "no shape"): "the other arrays of the file are read",
    ("verify", "bzip2"): "its values are the same",
}
NOT_READ: dict[tuple[str, str], str] = {
    ("pictures", "a name of Windows"): "its name ends in .npy",
    **{("verify", name): "an entry that the other file lacks is a difference" for name in IGNORED},
}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileOpenWatch]:
    """A folder beside the current one, whose use is noticed."""
    for name in ("outside", "project"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "secret").write_bytes(npy("'|u1'", "(40, 8, 9)", bytes(2_880)))
    monkeypatch.chdir(tmp_path / "project")
    with watched(tmp_path / "outside") as watch:
        yield watch


def read_pictures(path: Path) -> None:
    """Reads the file as `inkflow predict` does.

    Raises:
        InkflowError: it refuses the file, or a part of it.
    """
    for found in read_images(str(path)):
        if isinstance(found, RejectedInput):
            raise InkflowError(found.reason)


def add(path: Path) -> None:
    """Reads the file as `inkflow data add` does."""
    with redirect_stdout(io.StringIO()):
        add_data([json.dumps({"name": "own", "paths": [str(path)], "max_bytes": LIMIT})])


def tell_apart(path: Path, good: Path) -> None:
    """Compares the file with a good one, as `inkflow verify` does.

    Raises:
        InkflowError: they differ, which is how the comparison refuses a file.
    """
    found = compare(path, good, 1e-6)
    if found.verdict is Verdict.DIFFERENT:
        raise InkflowError(found.detail[:MAX_SENTENCE].replace("\n", " ") or "different")


def is_to_be_refused(reader: str, name: str) -> bool:
    """Returns whether the reader has to refuse the file of this name."""
    return (name in REFUSED and (reader, name) not in READ) or (reader, name) in NOT_READ


def checked(read: Callable[[Path], object], path: Path) -> bool:
    """Returns whether the file is refused, which has to be in one sentence.

    Raises:
        AssertionError: it is refused in another way.
    """
    try:
        read(path)
    except InkflowError as error:
        text = str(error)
        assert 0 < len(text) <= MAX_SENTENCE and "\n" not in text, text
        return True
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    return False


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yields a function that returns the most memory in bytes that Python and NumPy had in the block so far."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_zip_files_and_headers_that_lie(promise: Try, rounds: Rounds, outside: FileOpenWatch) -> None:
    """Npz files that lie are refused in one sentence by each reader, but for what READ and NOT_READ name."""
    dataset = Dataset.model_validate({"title": "Tiny", "embedded": "digits"})
    good, path = entries_of(save(Path("good.npz")).read_bytes()), Path("data.npz")
    readers: dict[str, Callable[[Path], object]] = {
        "data set": lambda file: check_shape_and_range(read_arrays(file, LIMIT, None, floats=True), dataset),
        "own data": add,
        "pictures": read_pictures,
        "verify": lambda file: tell_apart(file, Path("good.npz")),
    }
    made = random.Random(SEED).sample(list((REFUSED | IGNORED).items()), rounds(12, len(REFUSED | IGNORED)))
    with promise(
        "Hostile input",
        f"Zip files and npy headers that lie are refused in one sentence; 3 readers need less than {MEMORY:,} bytes.",
        f"{len(made)} files: bombs, overlaps, links, zip64, encryption, shapes, types; 4 readers: `verify`, and "
        "those of data sets, `data add` and `predict`, whose memory is measured; "
        f"{len(IGNORED)} files with unused entries and {len(READ)} harmless cases have to be read",
    ) as tried:
        for name, make in made:
            path.write_bytes(make(good))
            outside.was_opened()
            for reader, read in readers.items():
                with tried.attempt(f"{reader}: {name}"), traced() as used:
                    is_refused = checked(read, path)
                    assert reader == "verify" or used() < MEMORY, f"allocated {used():,} bytes"
                    assert not outside.was_opened(), "it opened a file outside"
                    assert is_refused == is_to_be_refused(reader, name), f"refused: {is_refused}"
                    assert not (left := [place for place in CANARIES if Path(place).exists()]), left
        with tried.verdict("files"):
            assert sorted(file.name for file in Path().iterdir()) == ["data.npz", "good.npz"]


@pytest.mark.parametrize("name", HEADERS)
def test_prepared_rows_of_lying_headers(tmp_path: Path, name: str) -> None:
    """The reader of prepared rows answers with its own errors."""
    path = tmp_path / "x.npy"
    path.write_bytes(entries_of(HEADERS[name]({}))[X])
    try:
        rows = NpyReader(path)
        _ = rows[0 : min(1, len(rows))]
    except (OSError, ValueError):
        return
    assert np.prod(rows.shape, dtype=float) * rows.dtype.itemsize < path.stat().st_size
