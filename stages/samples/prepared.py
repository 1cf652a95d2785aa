"""What training reads: the training and validation parts, and in which order."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.base.errors import DataError
from stages.base.files import read_json
from stages.samples.npy_reader import Stored
from stages.samples.pixels import Crop, Pixels
from stages.samples.sampling import random_order

RESIDENT_BYTES = 256 * 2**20  # of a part's images: larger ones stay on disk and are read in turn
REMEDY = "run the prepare stage again: python -m stages.prepare --raw data/raw --out data/prepared"


class Prepared(BaseModel):
    """What prepared.json says: network input = (pixel - offset) / scale, after the crop.

    `pixels` is the range of raw pixels, `class_names` has a name for each label, both as the data set has them.
    """

    model_config = ConfigDict(frozen=True)

    classes: int
    class_names: tuple[str, ...] = ()
    pixels: Pixels = Pixels()
    raw_shape: tuple[int, ...]
    shape: tuple[int, int, int]
    crop: Crop
    offset: float
    scale: float


class Images(Protocol):
    """float32 (n, h, w, c): an array, or a file of which rows are read when they are asked for."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, rows: Any, /) -> NDArray[np.float32]:
        """The images of a slice or of indices (k,)."""
        ...


class Part(NamedTuple):
    """Images as a network reads them, labels int64 (n,), and weights float32 (n,) where single samples have some."""

    images: Images
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


class TrainingData(NamedTuple):
    """The samples to learn from, those to watch the learning with, and what was done to both."""

    prepared: Prepared
    train: Part
    validation: Part


def read_training_data(folder: Path) -> TrainingData:
    """What the prepare stage wrote to `folder`; images stay on disk until they are used.

    Raises:
        DataError: a file is missing or not what it should be.
    """
    prepared = read_prepared(folder / "prepared.json")
    return TrainingData(prepared, *(_read_part(folder, part, prepared) for part in ("train", "validation")))


def in_memory(data: TrainingData) -> TrainingData:
    """`data` with the images that fit read, as training wants them; larger parts stay on disk."""
    parts = (
        part._replace(images=part.images[:]) if part.images.nbytes <= RESIDENT_BYTES else part
        for part in (data.train, data.validation)
    )
    return TrainingData(data.prepared, *parts)


def read_prepared(path: Path) -> Prepared:
    """What was done to the pixels.

    Raises:
        DataError: the file is missing or not what the prepare stage writes.
    """
    return read_json(path, Prepared, REMEDY)


def sample_order(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    """Permutation of `samples` indices: a function of the seed and the epoch (from 0) alone."""
    return random_order([seed, epoch], samples)


def one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Vectors (n, classes) with a 1 at the label and 0 elsewhere."""
    return np.eye(classes, dtype=np.float32)[labels]


def raw_pixels(images: NDArray[np.float32], prepared: Prepared) -> NDArray[np.float32]:
    """Raw pixels (n, *raw_shape) of prepared `images`, with 0 where the crop took pixels away."""
    height, width = prepared.raw_shape[:2]
    crop = prepared.crop
    raw = np.zeros((len(images), height, width, prepared.shape[2]), np.float32)
    inside = images * np.float32(prepared.scale) + np.float32(prepared.offset)
    raw[:, crop.top : height - crop.bottom, crop.left : width - crop.right] = inside
    return raw.reshape(len(images), *prepared.raw_shape)


def _read_part(folder: Path, part: str, prepared: Prepared) -> Part:
    images, labels = (_stored(folder / f"{name}_{part}.npy") for name in "xy")
    _check(folder, part, prepared, images, found := labels[:])
    weights = folder / f"w_{part}.npy"
    return Part(images, found, _weights(weights, len(found)) if weights.exists() else None)


def _weights(path: Path, samples: int) -> NDArray[np.float32]:
    found: NDArray[Any] = _stored(path)[:]
    if found.dtype != np.float32 or found.shape != (samples,):
        raise DataError(
            f"{path}: holds {found.dtype} of shape {found.shape}, expected float32 of ({samples},); {REMEDY}"
        )
    return found


def _check(folder: Path, part: str, prepared: Prepared, images: Stored, labels: NDArray[Any]) -> None:
    if labels.dtype != np.int64 or labels.ndim != 1 or not _in_range(labels, prepared.classes):
        raise DataError(
            f"{folder}: y_{part}.npy holds {labels.dtype} of shape {labels.shape}, "
            f"expected a row of int64 from 0 to {prepared.classes - 1}, at least one; {REMEDY}"
        )
    expected = (len(labels), *prepared.shape)
    if images.dtype != np.float32 or images.shape != expected:
        raise DataError(
            f"{folder}: x_{part}.npy holds {images.dtype} of shape {images.shape}, "
            f"expected float32 of {expected}; {REMEDY}"
        )


def _in_range(labels: NDArray[np.int64], classes: int) -> bool:
    return bool(len(labels) and labels.min() >= 0 and labels.max() < classes)


def _stored(path: Path) -> Stored:
    try:
        return Stored(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {REMEDY}") from error
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: is not a NumPy array file ({error}); {REMEDY}") from error
