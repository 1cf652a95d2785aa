"""The sections of params.yaml about data: the data sets, and what is done to their pixels."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from stages.base.config import Name, Section, check_section, read_yaml
from stages.samples.pixels import Crop, Pixels

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
SIDES = (8, 128)  # smallest and largest height and width of an image, in pixels
CHANNELS = (1, 3)
CLASSES = (2, 100)  # fewest and most

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=60)]


class Digests(Section):
    """SHA-256 of each array's raw bytes in C order, as lower-case hex."""

    x_train: Sha256
    y_train: Sha256
    x_test: Sha256
    y_test: Sha256
    w_train: Sha256 | None = Field(
        None, description="of a weight in the loss for each training sample, as float32; there are none when null"
    )


def _image_shape(shape: list[int]) -> list[int]:
    low, high = SIDES
    if not all(low <= side <= high for side in shape[:2]) or (len(shape) == 3 and shape[2] not in CHANNELS):
        raise ValueError(f"got {shape}, expected [height, width] of {low} to {high} pixels, in colour with a third, 3")
    return shape


def _different(names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"holds {twice[0]!r} more than once, expected a name of its own for each class")
    return names


ImageShape = Annotated[list[int], Field(min_length=2, max_length=3), AfterValidator(_image_shape)]
ClassNames = Annotated[list[ClassName], Field(min_length=CLASSES[0], max_length=CLASSES[1]), AfterValidator(_different)]


class Dataset(Section):
    """One data set: four arrays of images and labels, and where they can be had."""

    title: str = Field(min_length=1, description="name for people")
    licence: str = Field("not stated", min_length=1, description="licence and authors, for the report")
    url: str | None = Field(None, pattern=r"^https?://\S+$", description="where the npz file lies")
    embedded: Literal["digits"] | None = Field(None, description="a data set that a library ships")
    sha256: Digests | None = Field(None, description="digest of each array; required with `url`")
    stand_in_for: Name | None = Field(None, description="the data set that this one only stands in for")
    shape: ImageShape | None = Field(
        None,
        description="[height, width] or [height, width, channels] of an image; "
        "where stated, what cannot be learnt from such images is refused before anything runs",
    )
    classes: int | None = Field(
        None, ge=CLASSES[0], le=CLASSES[1], description="how many; one more than the largest training label when null"
    )
    class_names: ClassNames | None = Field(None, description="a name for each label from 0 on; the labels when null")
    pixels: Pixels | None = Field(
        None, description="the range of the pixels; 0 to 255 when null; required for pixels that are not uint8"
    )
    max_bytes: int = Field(
        1_000_000_000,
        ge=1_000,
        description="largest size of the file, and of its arrays once unpacked, in bytes",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.url is None) == (self.embedded is None):
            raise ValueError("needs exactly one of `url` and `embedded`")
        if self.url is not None and self.sha256 is None:
            raise ValueError("needs `sha256`, the digest of each array, beside `url`")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if self.class_names and self.classes not in (None, len(self.class_names)):
            raise ValueError(f"has {len(self.class_names)} `class_names`, but `classes` is {self.classes}")
        return self

    @property
    def is_weighted(self) -> bool:
        """Whether single training samples have weights."""
        return self.sha256 is not None and self.sha256.w_train is not None

    @property
    def stated_classes(self) -> int | None:
        """How many classes there are, where that is stated."""
        return len(self.class_names) if self.class_names else self.classes


def load_dataset(path: Path | str = "params.yaml", name: str | None = None) -> tuple[str, Dataset]:
    """Name and section of the data set `name` in the params.yaml `path`; of the chosen one when None.

    Raises:
        ParamsError: it is missing or has mistakes.
    """
    content = read_yaml(path)
    chosen = name or check_section(content, ["dataset"], Name, path)
    return chosen, check_section(content, ["datasets", chosen], Dataset, path)


def _ascending(samples: list[int]) -> list[int]:
    if samples[0] >= samples[1]:
        raise ValueError(f"got {samples}, expected start below stop")
    return samples


SampleIndex = Annotated[int, Field(ge=0)]
SampleRange = Annotated[list[SampleIndex], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


class Prepare(Section):
    """From raw pixels to what a network reads."""

    samples: SampleRange | None = Field(
        None, description="[start, stop): a range of the training samples; all when null"
    )
    crop: Crop | None = Field(None, description="pixels cut off each side; none when null")
    normalise: Literal["unit", "standard"] = Field(
        "unit", description="`unit`: pixels to [0, 1]; `standard`: mean 0, standard deviation 1"
    )
    validation: float = Field(0.1, gt=0, lt=1, description="share of the training samples held out")
    held_out: Literal["random", "last"] = Field(
        "random",
        description="`random`: each class keeps its share; `last`: the last samples, as Keras's `validation_split`, "
        "for data that lie in the order of their origin",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="which samples are held out, for `random`")
