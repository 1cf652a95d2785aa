"""A data set: four arrays, checked, described, and written so that equal arrays are equal files."""

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
from stages.base.files import EPOCH, read_json, replacing
from stages.data.config import ARRAYS, CHANNELS, CLASSES, SIDES, Digests
from stages.data.config import Dataset as DatasetParams
from stages.data.npz import Entry, open_npz
from stages.data.sample_weights import WEIGHTS, check_weights
from stages.samples.pixels import Pixels

ARRAYS_FILE = "dataset.npz"
DESCRIPTION_FILE = "dataset.json"
FLOATS = ("float16", "float32", "float64")  # types of pixels whose range must be stated
MAX_BYTES = 1_000_000_000  # of a file whose limit nobody states
REMEDY = "run the download stage again: python -m stages.download --out data/raw"


class Arrays(NamedTuple):
    """Images (n, h, w) or (n, h, w, c), uint8, or float in a stated range, and labels, integers (n,) from 0."""

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    w_train: NDArray[Any] | None = None  # weights of the training samples in the loss, float32 (n,)

    def named(self) -> dict[str, NDArray[Any]]:
        """The arrays that there are, by name."""
        return {name: array for name, array in self._asdict().items() if array is not None}


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArrayFacts(_Facts):
    """What one array is; `sha256` is of its raw bytes in C order."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


class Description(_Facts):
    """What dataset.json says of the arrays beside it."""

    name: str
    title: str
    licence: str
    stand_in_for: str | None
    classes: int
    class_names: tuple[str, ...]
    pixels: Pixels = Pixels()
    arrays: dict[str, ArrayFacts]


@contextmanager
def blaming(what: str, remedy: str) -> Iterator[None]:
    """Complete a DataError from within: it was found in `what`, and `remedy` mends it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{what}: {error}; {remedy}") from error


def read_arrays(
    path: Path, max_bytes: int, classes: int | None = None, *, floats: bool = False, weights: bool = False
) -> Arrays:
    """The four arrays of the npz file `path`, checked.

    Args:
        path: the file.
        max_bytes: of the arrays together.
        classes: how many there are; as many as the training labels say when None.
        floats: whether pixels may be floats; their range is not looked at.
        weights: whether there have to be weights of the training samples too.

    Raises:
        DataError: what is wrong, without the name of the file.
    """
    with open_npz(path, (*ARRAYS, WEIGHTS) if weights else ARRAYS, max_bytes) as entries:
        _check_headers(entries, floats)
        weighing = check_weights(entries[WEIGHTS], entries["y_train"].shape[0]) if weights else None
        four = {name: _little_endian(entries[name].read()) for name in ARRAYS}
        arrays = Arrays(**four, w_train=weighing)
    check_labels("y_train", arrays.y_train, classes or CLASSES[1])
    check_labels("y_test", arrays.y_test, classes or count_classes(arrays.y_train))
    return arrays


def read_dataset(path: Path, classes: int | None = None) -> Arrays:
    """The four arrays that the download stage wrote to `path`, checked; `classes` as in `read_arrays`.

    Raises:
        DataError: the file is missing or not what it should be.
    """
    with blaming(str(path), REMEDY):
        return read_arrays(path, _limit(path), classes, floats=True)


def read_part(path: Path, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images and labels of the `part`, "train" or "test", that the download stage wrote to `path`.

    Raises:
        DataError: the file is missing or not what it should be.
    """
    with open_part(path, part) as (images, labels):
        return images.read(), labels


@contextmanager
def open_part(path: Path, part: str) -> Iterator[tuple[Entry, NDArray[Any]]]:
    """Images, still unread, and labels of a `part`: for images that are larger than memory.

    Raises:
        DataError: the file is missing or not what it should be; also what the block raises.
    """
    names = (f"x_{part}", f"y_{part}")
    with blaming(str(path), REMEDY), open_npz(path, names, _limit(path)) as entries:
        images, labels = (entries[name] for name in names)
        _check_part(images, labels, floats=True)
        yield images, check_labels(labels.name, labels.read(), CLASSES[1])


def read_description(path: Path) -> Description:
    """What dataset.json says.

    Raises:
        DataError: the file is missing or not what the download stage writes.
    """
    return read_json(path, Description, REMEDY)


def write_dataset(folder: Path, arrays: Arrays, description: Description) -> None:
    """Write dataset.npz and dataset.json, both or neither.

    Raises:
        OutputError: the folder is full, read-only, or not a folder.
    """
    text, container = folder / DESCRIPTION_FILE, folder / ARRAYS_FILE
    with replacing(text) as new_text, replacing(container) as new_container:
        new_text.write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _write_npz(new_container, arrays)


def describe(name: str, dataset: DatasetParams, arrays: Arrays) -> Description:
    """What dataset.json shall say: nothing that depends on where the arrays came from."""
    classes = dataset.stated_classes or count_classes(arrays.y_train)
    facts = {
        key: ArrayFacts(shape=array.shape, dtype=array.dtype.name, sha256=digest(array))
        for key, array in arrays.named().items()
    }
    return Description(
        name=name,
        title=dataset.title,
        licence=dataset.licence,
        stand_in_for=dataset.stand_in_for,
        classes=classes,
        class_names=tuple(dataset.class_names or map(str, range(classes))),
        pixels=dataset.pixels or Pixels(),
        arrays=facts,
    )


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of the raw bytes of `array` in C order, in hex."""
    return hashlib.sha256(np.ascontiguousarray(array).data.cast("B")).hexdigest()


def check_digests(arrays: Arrays, expected: Digests) -> None:
    """Compare content with what params.yaml says.

    Raises:
        DataError: an array differs.
    """
    for name, array in arrays.named().items():
        wanted, got = getattr(expected, name), digest(array)
        if got != wanted:
            raise DataError(f"{name} has sha256 {got}, expected {wanted}")


def check_stated(arrays: Arrays, dataset: DatasetParams) -> None:
    """Compare shape and range of the images with what params.yaml says of them.

    Raises:
        DataError: they are others.
    """
    pixels = dataset.pixels or Pixels()
    for name in ("x_train", "x_test"):
        images = getattr(arrays, name)
        if dataset.shape and list(images.shape[1:]) != dataset.shape:
            raise DataError(f"{name} has images of shape {images.shape[1:]}, but `shape` is {dataset.shape}")
        check_range(name, images, pixels)


def check_range(name: str, images: NDArray[Any], pixels: Pixels) -> None:
    """See that all pixels are numbers in the range `pixels`.

    Raises:
        DataError: one is not.
    """
    low, high = images.min(), images.max()  # not a number where one pixel is not
    if not (pixels.low <= low and high <= pixels.high):
        found = "some of them not a number (NaN)" if np.isnan(low) else f"from {low:g} to {high:g}"
        raise DataError(f"{name} has pixels {found}, expected {pixels.low:g} to {pixels.high:g} (`pixels`)")


def count_classes(labels: NDArray[Any]) -> int:
    """Number of classes: one more than the largest of the training labels."""
    return int(labels.max()) + 1


def check_labels(name: str, labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """`labels`, all of them from 0 to `classes` - 1.

    Raises:
        DataError: a label is out of range, or there is one class alone.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise DataError(f"{name} holds the label {wrong}, expected 0 to {classes - 1}")
    if name == "y_train" and high + 1 < CLASSES[0]:
        raise DataError(f"{name} holds the label 0 alone, expected at least {CLASSES[0]} classes")
    return labels


def _check_headers(entries: Mapping[str, Entry], floats: bool) -> None:
    for part in ("train", "test"):
        _check_part(entries[f"x_{part}"], entries[f"y_{part}"], floats)
    train, test = (entries[name].shape[1:] for name in ("x_train", "x_test"))
    if train != test:
        raise DataError(f"x_train has images of shape {train}, x_test of {test}, expected the same")


def _check_part(images: Entry, labels: Entry, floats: bool) -> None:
    _check_images(images, floats)
    if len(labels.shape) != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{labels.name} has shape {labels.shape} and type {labels.dtype}, expected integers of shape (n,)"
        )
    if images.shape[0] != labels.shape[0] or not labels.shape[0]:
        raise DataError(
            f"{images.name} has {images.shape[0]:,} images and {labels.name} "
            f"{labels.shape[0]:,} labels, expected as many of both, at least 1"
        )


def _check_images(images: Entry, floats: bool) -> None:
    name, shape = images.name, images.shape
    if images.dtype != np.uint8 and not (floats and images.dtype.name in FLOATS):
        nan = ", some of them not a number (NaN)" if _has_nan(images) else ""
        raise DataError(
            f"{name} has pixels of type {images.dtype}{nan}, "
            f"expected uint8, or one of {', '.join(FLOATS)} whose range params.yaml states (`pixels`)"
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in CHANNELS):
        raise DataError(f"{name} has shape {shape}, expected (n, h, w) or (n, h, w, 1 or 3)")
    if not all(SIDES[0] <= side <= SIDES[1] for side in shape[1:3]):
        low, high = SIDES
        raise DataError(f"{name} has images {shape[1:3]} pixels large, expected {low} to {high}")


def _has_nan(images: Entry) -> bool:
    if images.dtype.kind != "f" or not images.shape or images.fortran:
        return False
    return any(bool(np.isnan(chunk).any()) for chunk in images.chunks(1_000))


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _limit(path: Path) -> int:
    """Most bytes that a file of our own may unpack to: such files are not compressed."""
    return max(MAX_BYTES, path.stat().st_size) if path.exists() else MAX_BYTES


def _write_npz(path: Path, arrays: Arrays) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in sorted(arrays.named().items()):
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            entry.external_attr = 0o644 << 16
            entry.file_size = array.nbytes + 128  # about: zipfile chooses zip or zip64 by it
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
