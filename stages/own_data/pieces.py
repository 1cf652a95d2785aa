"""What one file gives: images, labels or both, of the training or the test part."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError

TRAIN, TEST, VALIDATION = "train", "test", "validation"
PART_WORDS = {
    "train": TRAIN, "training": TRAIN, "tra": TRAIN, "test": TEST, "testing": TEST, "tes": TEST, "t10k": TEST,
    "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "dev": VALIDATION,
}  # fmt: skip
IMAGE_WORDS = {"x", "image", "images", "img", "imgs", "data", "features", "fea", "pixels", "inputs", "pictures"}
LABEL_WORDS = {"y", "label", "labels", "target", "targets", "class", "gnd", "digit", "category"}
WORD = re.compile(r"t10k|[a-z]+")


class Choice(NamedTuple):
    """The label's column of a CSV file without a header that names it.

    Attributes:
        is_last: whether it is the last column, else the first one.
        other: the value of the other one of these columns, if it has a single one in the file.
        columns: the numbers of both columns, as --label takes them.
    """

    is_last: bool
    other: str | None
    columns: tuple[str, str]


@dataclass
class Piece:
    """Images, labels, or both, of one file.

    Attributes:
        source: name of the file, for messages.
        folder: that of the file.
        part: TRAIN, TEST, VALIDATION, or None if the file does not say it.
        images: any numbers, one image along an axis that `images.py` finds; None if the file has labels only.
        labels: any values, (n,), (n, 1) or one-hot; None if the file has images only.
        names: names of the labels 0, 1, ..., where the file has them.
        notes: sentences about what was read in another way, or left out.
        weights: weight of each sample in the loss.
        groups: group of each sample, such as its writer.
        choice: the column of a CSV file that was taken for the label by its values.
    """

    source: str
    part: str | None
    images: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    names: tuple[str, ...] | None = None
    notes: list[str] = field(default_factory=list)
    weights: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    folder: str = ""
    choice: Choice | None = None


def words(name: str) -> list[str]:
    """Returns the words of a name in lower case: `trainImages-idx3` has train, images, idx."""
    return WORD.findall(split_name(name))


def split_name(name: str) -> str:
    """Returns a name in lower case, with `_` between words that are written together, such as `xtrain`."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return re.sub(r"\b([xy])(train|test|val)\b", r"\1_\2", split)


def part_of(name: str) -> str | None:
    """Returns the part that the name of a file, a folder or an array says; None if it says none or several."""
    parts = {PART_WORDS[word] for word in words(name) if word in PART_WORDS}
    return parts.pop() if len(parts) == 1 else None


def kind_of(name: str) -> str | None:
    """Returns "x" if the name is one of images, "y" of labels, None if it says neither."""
    kinds = ["x" if word in IMAGE_WORDS else "y" for word in words(name) if word in IMAGE_WORDS | LABEL_WORDS]
    return kinds[-1] if kinds else None


def kind_of_shape(shape: tuple[int, ...]) -> str:
    """Returns "y" for the shape of labels, (n,) or (n, 1), else "x"."""
    return "y" if len(shape) == 1 or shape[1:] == (1,) else "x"


def from_arrays(source: str, arrays: dict[str, NDArray[Any]], part: str | None) -> list[Piece]:
    """Returns the pieces of a file of named arrays; `part` is that of the file's name.

    Raises:
        DataError: two arrays are the same thing.
    """
    pieces: dict[str | None, Piece] = {}
    for name, array in arrays.items():
        kind = kind_of(name) or kind_of_shape(array.shape)
        own = part_of(name) or part
        piece = pieces.setdefault(own, Piece(source, own))
        if (piece.images if kind == "x" else piece.labels) is not None:
            what = "images" if kind == "x" else "labels"
            raise DataError(f"has several arrays of {what}: {shapes_text(arrays)}; {KEYS_REMEDY}")
        if kind == "x":
            piece.images = array
        else:
            piece.labels = array
    return list(pieces.values())


KEYS_REMEDY = "name the right ones by --x-train and --y-train, and by --x-test and --y-test if it has a test part"


def shapes_text(arrays: dict[str, Any]) -> str:
    """Returns the names and shapes of `arrays` for a message."""
    found = [f"{name} {tuple(array.shape)}" for name, array in list(arrays.items())[:8]]
    return (", ".join(found) or "nothing") + (", ..." if len(arrays) > len(found) else "")


def together(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Returns `arrays` along their first axis as one array, without a copy of a single one."""
    found = list(arrays)
    return found[0] if len(found) == 1 else np.concatenate(found)
