"""Sections of params.yaml about data: the data sets, and the preparation of their samples."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from stages.base.config import Name, Section, check_section, read_yaml
from stages.base.sample_kinds import MAX_VOCABULARY, Kind, shape_error
from stages.samples.pixels import Crop, Pixels

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
GROUP_ARRAYS = ("g_train", "g_test")  # who or what each sample comes from
SIDES = (8, 128)  # smallest and largest height and width of an image, in pixels
CHANNELS = (1, 3)
CLASSES = (2, 100)  # smallest and largest number of classes

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=60)]


class Digests(Section):
    """SHA-256 of each array's raw bytes in C order, as lower-case hex."""

    x_train: Sha256
    y_train: Sha256
    x_test: Sha256
    y_test: Sha256
    w_train: Sha256 | None = Field(
        None, description="digest of the weights of the training samples in the loss, float32; null means no weights"
    )
    g_train: Sha256 | None = Field(
        None, description="digest of the groups of the training samples in the data set's own file; null: not compared"
    )
    g_test: Sha256 | None = Field(None, description="digest of the groups of the test samples; null: not compared")


def _check_shape(shape: list[int]) -> list[int]:
    low, high = SIDES
    is_known = len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS)
    if not is_known or not all(low <= side <= high for side in shape[:2]):
        raise ValueError(f"got {shape}, expected [height, width] of {low} to {high} pixels, or [height, width, 3]")
    return shape


def _check_distinct(names: list[str]) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"holds {repeated[0]!r} more than once, expected a different name for each class")
    return names


SampleShape = Annotated[list[int], Field(min_length=1, max_length=3)]
ClassNames = Annotated[
    list[ClassName], Field(min_length=CLASSES[0], max_length=CLASSES[1]), AfterValidator(_check_distinct)
]


class GroupDigests(Section):
    """SHA-256 of the groups of each part, int32 in little-endian order, as lower-case hex."""

    train: Sha256
    test: Sha256 | None = Field(None, description="null means that the groups of the test samples are not known")


class PartNames(Section):
    """One text for each part of the data."""

    train: str = Field(min_length=1)
    test: str | None = Field(None, min_length=1, description="needed if `sha256` has a digest of the test part")


class Groups(Section):
    """Who or what each sample comes from, such as its writer. `prepare.held_out: groups` holds out whole groups."""

    noun: str = Field("group", min_length=1, description="what a group is, in the singular, such as `writer`")
    file: str = Field(pattern=r"^[\w.-]+\.npz$", description="npz file of the groups in the mirror or in Keras's cache")
    arrays: PartNames = Field(
        PartNames(train="g_train", test="g_test"),
        description="names of the arrays in `file`: integers, one for each sample",
    )
    urls: PartNames | None = Field(
        None, description="addresses of IDX files, packed by gzip, with a row of integers for each sample"
    )
    column: int = Field(0, ge=0, description="column of the group in the rows of `urls`")
    sha256: GroupDigests = Field(description="digest of the groups of each part")

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        for key in ("arrays", "urls"):
            names = getattr(self, key)
            if self.sha256.test and names and not names.test:
                raise ValueError(f"has a digest of the test part in `sha256`, but `{key}` does not name that part")
        return self

    @property
    def parts(self) -> tuple[Literal["train", "test"], ...]:
        """The parts whose groups are known."""
        return ("train", "test") if self.sha256.test else ("train",)


class Dataset(Section):
    """One data set: four arrays of samples and labels, and their source."""

    title: str = Field(min_length=1, description="name in the report")
    licence: str = Field("not stated", min_length=1, description="licence and authors, shown in the report")
    url: str | None = Field(None, pattern=r"^https?://\S+$", description="address of the npz file")
    path: str | None = Field(
        None,
        pattern=r"^[^/~\s].*$",
        description="npz file, relative to the project; `inkflow data add` writes it and this entry from other forms",
    )
    embedded: Literal["digits"] | None = Field(None, description="data set that is part of a library")
    sha256: Digests | None = Field(None, description="digest of each array; required with `url` and `path`")
    groups: Groups | None = Field(
        None,
        description="groups of the samples; fetched if `prepare.held_out` is `groups`; null means the arrays `g_train` "
        "and `g_test` of the data set's own file, if it has them",
    )
    stand_in_for: Name | None = Field(None, description="data set for which this one is a stand-in")
    kind: Kind = Field(
        "image",
        description="what a sample is: `image`; `vector` of features; `sequence` of steps with features; `tokens`, a "
        "sequence of integers below `vocabulary`, where 0 is padding",
    )
    vocabulary: int | None = Field(
        None, ge=2, le=MAX_VOCABULARY, description="for tokens: their number, with that of the padding, 0"
    )
    shape: SampleShape | None = Field(
        None,
        description="[height, width] or [height, width, channels] of an image, [features] of a vector, [steps, "
        "features] of a sequence, [steps] of tokens; if set, a crop or a model that leaves nothing of such a sample is "
        "rejected before any stage runs",
    )
    classes: int | None = Field(
        None,
        ge=CLASSES[0],
        le=CLASSES[1],
        description="number of classes; null means the largest training label plus 1",
    )
    class_names: ClassNames | None = Field(None, description="name of each label, from 0; null means the labels")
    pixels: Pixels | None = Field(
        None,
        description="range of the pixels; null means 0 to 255; required for pixels of type uint16, float16, float32 or "
        "float64; only these types and uint8 are accepted",
    )
    max_bytes: int = Field(
        1_000_000_000,
        ge=1_000,
        description="largest allowed size of the file, and of its unpacked arrays, in bytes",
    )

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        given = [key for key in ("url", "path", "embedded") if getattr(self, key) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "no source"
            raise ValueError(f"has {got}, needs exactly one of `url`, `path` and `embedded`")
        if self.embedded is None and self.sha256 is None:
            raise ValueError(f"needs `sha256`, the digest of each array, in addition to `{given[0]}`")
        return self

    @field_validator("shape")
    @classmethod
    def _check_sample_shape(cls, shape: list[int] | None, info: ValidationInfo) -> list[int] | None:
        kind = info.data.get("kind")  # None if it is wrong, which is said
        if kind == "image" and shape is not None:
            return _check_shape(shape)
        if kind and shape is not None and (message := shape_error(kind, shape)):
            raise ValueError(message)
        return shape

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "tokens" and self.vocabulary is None:
            raise ValueError("needs `vocabulary`, the number of tokens, because `kind` is tokens")
        for key, kinds in (("vocabulary", ("tokens",)), ("pixels", ("image",)), ("embedded", ("image",))):
            if getattr(self, key) is not None and self.kind not in kinds:
                raise ValueError(f"has `{key}`, which needs `kind: {kinds[0]}`, got {self.kind}; remove it")
        return self

    @model_validator(mode="after")
    def _check_class_names(self) -> Self:
        if self.class_names and self.classes not in (None, len(self.class_names)):
            raise ValueError(f"has {len(self.class_names)} `class_names`, but `classes` is {self.classes}")
        return self

    @property
    def has_weights(self) -> bool:
        """Whether the training samples have weights."""
        return self.sha256 is not None and self.sha256.w_train is not None

    @property
    def recorded_groups(self) -> list[str]:
        """Names of the arrays of groups in the data set's own file whose digests params.yaml has."""
        return [name for name in GROUP_ARRAYS if getattr(self.sha256, name, None) is not None]

    @property
    def class_count(self) -> int | None:
        """Number of classes, or None if params.yaml does not state it."""
        return len(self.class_names) if self.class_names else self.classes


def load_dataset(path: Path | str = "params.yaml", name: str | None = None) -> tuple[str, Dataset]:
    """Reads the name and the section of a data set from params.yaml.

    Args:
        path: the params.yaml.
        name: one of `datasets`; None means the selected one, `dataset`.

    Raises:
        ParamsError: the section is missing or invalid.
    """
    content = read_yaml(path)
    selected = name or check_section(content, ["dataset"], Name, path)
    return selected, check_section(content, ["datasets", selected], Dataset, path)


def load_held_out(path: Path | str = "params.yaml") -> str:
    """Reads `prepare.held_out` from params.yaml.

    Raises:
        ParamsError: the section is missing or the value is invalid.
    """
    return str(check_section(read_yaml(path), ["prepare"], Prepare, path).held_out)


def _check_range(samples: list[int]) -> list[int]:
    if samples[0] >= samples[1]:
        raise ValueError(f"got {samples}, expected start below stop")
    return samples


SampleIndex = Annotated[int, Field(ge=0)]
SampleRange = Annotated[list[SampleIndex], Field(min_length=2, max_length=2), AfterValidator(_check_range)]


HeldOut = Literal["random", "last", "groups"]


class Prepare(Section):
    """Conversion of raw samples to network inputs, and the validation split."""

    samples: SampleRange | None = Field(
        None, description="[start, stop): range of the training samples to use; null means all"
    )
    crop: Crop | None = Field(None, description="for images: pixels removed from each side; null means none")
    normalise: Literal["unit", "standard"] = Field(
        "unit",
        description="`unit`: scale pixels to [0, 1]; `standard`: scale pixels to mean 0, standard deviation 1; each "
        "feature of vectors and sequences is scaled so, by constants of the training part; tokens are not scaled",
    )
    validation: float = Field(
        0.1, ge=0, lt=1, description="share of the training samples held out for validation; 0: train on all samples"
    )
    held_out: HeldOut = Field(
        "random",
        description="`random`: stratified random samples; `last`: the last samples, as Keras's `validation_split`, "
        "for data in the order of their origin; `groups`: whole groups, such as all samples of a writer, if the data "
        "set has `groups` or an array `g_train`",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the selection, for `random` and `groups`")
