"""Reads, checks, describes and writes a data set of four arrays. Equal arrays give equal files."""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.base.errors import DataError
from stages.base.files import ZIP_EPOCH, read_json, replacing
from stages.base.sample_kinds import KINDS, Kind
from stages.data.config import ARRAYS, CLASSES, GROUP_ARRAYS, Digests
from stages.data.config import Dataset as DatasetParams
from stages.data.npz import Entry, open_npz
from stages.data.sample_checks import check_header, check_samples
from stages.data.sample_weights import WEIGHTS, read_entry
from stages.samples.pixels import Pixels

ARRAYS_FILE = "dataset.npz"
DESCRIPTION_FILE = "dataset.json"
MAX_BYTES = 1_000_000_000  # default limit of a file
REMEDY = "run the download stage again: python -m stages.download --out data/raw"


class Arrays(NamedTuple):
    """Samples (n, ...) and labels, integers (n,) from 0. Images are (n, h, w) or (n, h, w, c), bytes or in a range."""

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    w_train: NDArray[Any] | None = None  # weights of the training samples in the loss, float32 (n,)
    g_train: NDArray[Any] | None = None  # group of each sample, integers or texts (n,); `stages.data.groups` reads them
    g_test: NDArray[Any] | None = None

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, without absent ones."""
        return {name: array for name, array in self._asdict().items() if array is not None}

    def without_groups(self) -> "Arrays":
        """The arrays that are written to dataset.npz; the groups have a file of their own."""
        return self._replace(g_train=None, g_test=None)


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArrayInfo(_FrozenModel):
    """Shape, type and digest of an array. `sha256` is the digest of its raw bytes in C order."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


class Description(_FrozenModel):
    """Content of dataset.json, which describes the arrays of dataset.npz."""

    name: str
    title: str
    licence: str
    stand_in_for: str | None
    classes: int
    class_names: tuple[str, ...]
    kind: Kind = "image"
    vocabulary: int | None = None  # of tokens
    pixels: Pixels = Pixels()
    arrays: dict[str, ArrayInfo]

    @property
    def noun(self) -> str:
        """The name of one sample."""
        return KINDS[self.kind].noun

    def to_json(self) -> str:
        """Returns the content of dataset.json, without keys of other kinds of samples."""
        others = {"kind", "vocabulary"} if self.kind == "image" else {"pixels"}
        return self.model_dump_json(indent=2, exclude=others) + "\n"


@contextmanager
def error_context(source: str, remedy: str) -> Iterator[None]:
    """Adds `source` at the start and `remedy` at the end of a DataError that the block raises."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{source}: {error}; {remedy}") from error


def read_arrays(
    path: Path,
    max_bytes: int,
    classes: int | None = None,
    *,
    floats: bool = False,
    weights: bool = False,
    kind: Kind = "image",
) -> Arrays:
    """Reads the four arrays of an npz file and checks their shapes, types and labels.

    Args:
        path: the file.
        max_bytes: largest size of all arrays together.
        classes: number of classes; None means the largest training label plus 1.
        floats: whether pixels may be of the RANGED_TYPES; their range is not checked.
        weights: whether the file must have weights of the training samples.
        kind: what a sample is.

    Raises:
        DataError: the file is invalid; the message does not name it.
    """
    with open_npz(path, (*ARRAYS, WEIGHTS) if weights else ARRAYS, max_bytes) as entries:
        _check_headers(entries, floats, kind)
        sample_weights = read_entry(entries[WEIGHTS], entries["y_train"].shape[0]) if weights else None
        images_and_labels = {name: _little_endian(entries[name].read()) for name in ARRAYS}
        labels = {name: images_and_labels[name].reshape(-1) for name in ("y_train", "y_test")}  # (n, 1) becomes (n,)
        arrays = Arrays(**images_and_labels | labels, w_train=sample_weights)
    check_labels("y_train", arrays.y_train, classes or CLASSES[1])
    check_labels("y_test", arrays.y_test, classes or count_classes(arrays.y_train))
    return arrays


def read_dataset(path: Path, classes: int | None = None, kind: Kind = "image") -> Arrays:
    """Reads and checks the dataset.npz that the download stage wrote; `classes` and `kind` as in `read_arrays`.

    Raises:
        DataError: the file is missing or invalid.
    """
    with error_context(str(path), REMEDY):
        return read_arrays(path, _limit(path), classes, floats=True, kind=kind)


@contextmanager
def open_part(path: Path, part: str, kind: Kind = "image") -> Iterator[tuple[Entry, NDArray[Any]]]:
    """Yields the unread samples and the labels of the `part` "train" or "test", for samples larger than memory.

    Raises:
        DataError: the file is missing or invalid, or the block raises a DataError.
    """
    names = (f"x_{part}", f"y_{part}")
    with error_context(str(path), REMEDY), open_npz(path, names, _limit(path)) as entries:
        images, labels = (entries[name] for name in names)
        _check_part(images, labels, floats=True, kind=kind)
        yield images, check_labels(labels.name, labels.read().reshape(-1), CLASSES[1])


def read_description(path: Path) -> Description:
    """Reads the dataset.json that the download stage wrote.

    Raises:
        DataError: the file is missing or invalid.
    """
    return read_json(path, Description, REMEDY)


def write_dataset(folder: Path, arrays: Arrays, description: Description) -> None:
    """Writes dataset.npz and dataset.json, both or neither.

    Raises:
        OutputError: the disk is full or read-only, or `folder` is a file.
    """
    json_path, npz_path = folder / DESCRIPTION_FILE, folder / ARRAYS_FILE
    with replacing(json_path) as new_json, replacing(npz_path) as new_npz:
        new_json.write_text(description.to_json(), encoding="utf-8")
        write_npz(new_npz, arrays.by_name())


def describe(name: str, dataset: DatasetParams, arrays: Arrays) -> Description:
    """Returns the content of dataset.json. It does not depend on the source of the arrays."""
    classes = dataset.class_count or count_classes(arrays.y_train)
    return Description(
        name=name,
        title=dataset.title,
        licence=dataset.licence,
        stand_in_for=dataset.stand_in_for,
        classes=classes,
        class_names=tuple(dataset.class_names or map(str, range(classes))),
        kind=dataset.kind,
        vocabulary=dataset.vocabulary,
        pixels=dataset.pixels or Pixels(),
        arrays={
            key: ArrayInfo(shape=array.shape, dtype=array.dtype.name, sha256=digest(array))
            for key, array in arrays.by_name().items()
        },
    )


def digest(array: NDArray[Any]) -> str:
    """Returns the SHA-256 of the raw bytes of `array` in C order, in hex."""
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def check_digests(arrays: Arrays, expected: Digests) -> None:
    """Compares the digests of the arrays with those in params.yaml.

    Raises:
        DataError: a digest differs.
    """
    for name, array in arrays.by_name().items():
        recorded = getattr(expected, name)
        is_compared = recorded is not None or name not in GROUP_ARRAYS
        if is_compared and (got := digest(array)) != recorded:
            raise DataError(f"{name} has sha256 {got}, expected {recorded}")


def check_shape_and_range(arrays: Arrays, dataset: DatasetParams) -> None:
    """Compares shape and values of the samples with `shape`, `pixels` and `vocabulary` in params.yaml.

    Raises:
        DataError: they differ.
    """
    pixels = dataset.pixels or Pixels()
    for name in ("x_train", "x_test"):
        images = getattr(arrays, name)
        if dataset.shape and _grey(list(images.shape[1:]), dataset.kind) != _grey(dataset.shape, dataset.kind):
            noun = KINDS[dataset.kind].noun
            raise DataError(f"{name} has {noun}s of shape {images.shape[1:]}, but `shape` is {dataset.shape}")
        check_samples(name, images, dataset.kind, pixels, dataset.vocabulary)


def _grey(shape: list[int], kind: Kind) -> list[int]:
    """Returns the shape of a sample without the axis of a single channel of an image."""
    return shape[:2] if kind == "image" and shape[2:] == [1] else shape


def count_classes(labels: NDArray[Any]) -> int:
    """Returns the number of classes: the largest training label plus 1."""
    return int(labels.max()) + 1


def check_labels(name: str, labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """Returns `labels` after checking that they are in the range from 0 to `classes` - 1.

    Raises:
        DataError: a label is out of range, or the training labels have only one class.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        from_one = "; subtract 1 from all labels if they count from 1" if (low, high) == (1, classes) else ""
        raise DataError(f"{name} holds the label {wrong}, expected 0 to {classes - 1}{from_one}")
    if name == "y_train" and high + 1 < CLASSES[0]:
        raise DataError(f"{name} holds only the label 0, expected at least {CLASSES[0]} classes")
    return labels


def _check_headers(entries: Mapping[str, Entry], floats: bool, kind: Kind) -> None:
    for part in ("train", "test"):
        _check_part(entries[f"x_{part}"], entries[f"y_{part}"], floats, kind)
    train, test = (entries[name].shape[1:] for name in ("x_train", "x_test"))
    if train != test:
        raise DataError(f"x_train has {KINDS[kind].noun}s of shape {train}, x_test of {test}, expected the same")


def _check_part(images: Entry, labels: Entry, floats: bool, kind: Kind) -> None:
    check_header(images, kind, floats=floats)
    if not labels.shape or labels.shape[1:] not in ((), (1,)) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{labels.name} has shape {labels.shape} and type {labels.dtype}, expected integers of shape (n,) or (n, 1)"
        )
    if images.shape[0] != labels.shape[0] or not labels.shape[0]:
        raise DataError(
            f"{images.name} has {images.shape[0]:,} {KINDS[kind].noun}s and {labels.name} "
            f"{labels.shape[0]:,} labels, expected equal numbers, at least 1"
        )


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _limit(path: Path) -> int:
    """Returns the size limit of a file that the download stage wrote, which is not compressed."""
    return max(MAX_BYTES, path.stat().st_size) if path.exists() else MAX_BYTES


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes `arrays` to the npz file `path`, uncompressed. Equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            entry.file_size = array.nbytes + 128  # approximate; zipfile uses it to choose zip or zip64
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
