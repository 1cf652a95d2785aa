"""Training data: the training and validation parts that the stage `prepare` writes, and the order of the samples."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stages.base.errors import DataError, raise_fault
from stages.base.files import read_json
from stages.base.sample_kinds import Kind
from stages.samples.npy_reader import NpyReader
from stages.samples.picture_form import PictureForm
from stages.samples.pixels import Crop, Pixels
from stages.samples.sampling import random_order

RESIDENT_BYTES = 256 * 2**20  # images of a part up to this size are loaded; larger ones are read batch by batch
REMEDY = "run the prepare stage again: python -m stages.prepare --raw data/raw --out data/prepared"


Constant = float | list[float]  # for all values, or one for each feature


class Prepared(BaseModel):
    """Content of prepared.json. The network input is (value - offset) / scale, after the crop.

    `offset` and `scale` are numbers, or have a number for each feature of vectors and sequences; tokens keep their
    values. `pixels` is the range of the raw pixels of images, `class_names` has one name for each label, `stand_in_for`
    is the data set for which this one is a stand-in, `kind` is what a sample is, and `vocabulary` is the number of
    tokens, all as in the data set. `picture_form` is that of grey images without MNIST's form.
    """

    model_config = ConfigDict(frozen=True)

    classes: int
    class_names: tuple[str, ...] = ()
    pixels: Pixels = Pixels()
    stand_in_for: str | None = None
    kind: Kind = "image"
    vocabulary: int | None = None
    picture_form: PictureForm | None = None
    raw_shape: tuple[int, ...]
    shape: tuple[int, ...]
    crop: Crop = Crop()
    offset: Constant
    scale: Constant

    @property
    def input_name(self) -> str:
        """Name of the input of exported models."""
        return "pixels" if self.kind == "image" else "samples"


class Images(Protocol):
    """Network inputs, float32 (n, h, w, c) or (n, ...): an array, or a file whose rows are read on demand."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, rows: Any, /) -> NDArray[np.float32]:
        """Returns the images of a slice or of indices (k,)."""
        ...


class Part(NamedTuple):
    """Network inputs, labels int64 (n,), and sample weights float32 (n,) if the data set has them."""

    images: Images
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


class TrainingData(NamedTuple):
    """The training part, the validation part, and how both were prepared."""

    prepared: Prepared
    train: Part
    validation: Part  # without samples where `prepare.validation` is 0

    def held_out_images(self, count: int) -> NDArray[np.float32]:
        """Returns the first images of the validation part; of the training part where no sample is held out."""
        return (self.validation if len(self.validation.labels) else self.train).images[:count]


def read_training_data(folder: Path) -> TrainingData:
    """Reads the output of the prepare stage from `folder`. The images stay on disk until they are used.

    Raises:
        DataError: a file is missing or invalid.
    """
    prepared = read_json(folder / "prepared.json", Prepared, REMEDY)
    return TrainingData(prepared, *(_read_part(folder, part, prepared) for part in ("train", "validation")))


def load_into_memory(data: TrainingData) -> TrainingData:
    """Returns `data` with the images of each part loaded if they take at most RESIDENT_BYTES."""
    parts = (
        part._replace(images=part.images[:]) if part.images.nbytes <= RESIDENT_BYTES else part
        for part in (data.train, data.validation)
    )
    return TrainingData(data.prepared, *parts)


def sample_order(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    """Returns a permutation of `samples` indices that depends only on the seed and the epoch (from 0)."""
    return random_order([seed, epoch], samples)


def normalise(samples: NDArray[Any], offset: Constant, scale: Constant) -> NDArray[np.float32]:
    """Returns (value - offset) / scale of samples (n, ...), computed in float32 like in exported models."""
    return (samples.astype(np.float32) - float32_constant(offset)) / float32_constant(scale)


def float32_constant(constant: Constant) -> NDArray[np.float32]:
    """Returns a constant of the normalisation as float32, () or (features,)."""
    return np.asarray(constant, np.float32)


def raw_pixels(images: NDArray[np.float32], prepared: Prepared) -> NDArray[np.float32]:
    """Converts network inputs back to raw samples (n, *raw_shape); the pixels that the crop removed are 0."""
    if prepared.kind != "image":
        return images * float32_constant(prepared.scale) + float32_constant(prepared.offset)
    height, width = prepared.raw_shape[:2]
    crop = prepared.crop
    raw = np.zeros((len(images), height, width, prepared.shape[2]), np.float32)
    inside = images * float32_constant(prepared.scale) + float32_constant(prepared.offset)
    raw[:, crop.top : height - crop.bottom, crop.left : width - crop.right] = inside
    return raw.reshape(len(images), *prepared.raw_shape)


def _read_part(folder: Path, part: str, prepared: Prepared) -> Part:
    images, labels = _open(folder / f"x_{part}.npy"), _open(folder / f"y_{part}.npy")[:]
    _check(folder, part, prepared, images, labels)
    weights = folder / f"w_{part}.npy"
    return Part(images, labels, _read_weights(weights, len(labels)) if weights.exists() else None)


def _read_weights(path: Path, samples: int) -> NDArray[np.float32]:
    weights: NDArray[Any] = _open(path)[:]
    if weights.dtype != np.float32 or weights.shape != (samples,):
        raise DataError(
            f"{path}: holds {weights.dtype} of shape {weights.shape}, expected float32 of ({samples},); {REMEDY}"
        )
    return weights


def _check(folder: Path, part: str, prepared: Prepared, images: NpyReader, labels: NDArray[Any]) -> None:
    are_integers = labels.dtype == np.int64 and labels.ndim == 1 and (len(labels) > 0 or part == "validation")
    if not are_integers or labels.min(initial=0) < 0 or labels.max(initial=0) >= prepared.classes:
        raise DataError(
            f"{folder}: y_{part}.npy holds {labels.dtype} of shape {labels.shape}, "
            f"expected at least one int64 label from 0 to {prepared.classes - 1}; {REMEDY}"
        )
    expected = (len(labels), *prepared.shape)
    if images.dtype != np.float32 or images.shape != expected:
        raise DataError(
            f"{folder}: x_{part}.npy holds {images.dtype} of shape {images.shape}, "
            f"expected float32 of {expected}; {REMEDY}"
        )


def _open(path: Path) -> NpyReader:
    try:
        return NpyReader(path)
    except OSError as error:
        raise_fault(error)
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {REMEDY}") from error
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: is not a NumPy array file ({error}); {REMEDY}") from error
