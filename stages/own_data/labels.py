"""Labels of any form as whole numbers from 0, with the names of the classes where these are no such numbers."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import CLASSES
from stages.own_data.pictures import natural_key

NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.0*)?")
ANY_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")  # also 007, which can be a code


class Classes(NamedTuple):
    """Labels of the training and the test part, uint8 (n,) from 0, and the names of the classes; None means numbers."""

    train: NDArray[np.uint8]
    test: NDArray[np.uint8] | None
    number: int
    names: list[str] | None


def flat_labels(labels: NDArray[Any], source: str, changes: list[str]) -> NDArray[Any]:
    """Returns labels (n,) as int64 or text; sentences about other forms are added to `changes`.

    Raises:
        DataError: they are neither classes (n,) nor (n, 1) nor one-hot.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "buif":
        is_one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
        if is_one_hot and labels.shape[1] >= CLASSES[0]:
            changes.append(f"{source}: one-hot labels of {labels.shape[1]} columns become whole numbers")
            return np.asarray(labels.argmax(axis=1), np.int64)
    if labels.ndim != 1:
        raise DataError(
            f"{source}: labels have the shape {labels.shape}, expected (n,), (n, 1) or one-hot (n, classes)"
        )
    return _as_numbers(_as_text(labels, source) if labels.dtype.kind in "OSU" else labels, source)


def _as_text(labels: NDArray[Any], source: str) -> NDArray[Any]:
    try:
        given = labels.tolist()
    except (SystemError, ValueError) as error:  # NumPy does not check the characters of an array that it reads
        raise DataError(f"{source}: labels hold no valid text; write them again") from error
    values = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in given]
    is_nested = any(isinstance(value, list | np.ndarray) for value in values)  # such as a MATLAB cell of rows
    texts = np.array([] if is_nested else values)
    if texts.dtype.kind != "U":
        raise DataError(f"{source}: labels are of mixed types, expected numbers or texts alone")
    texts = np.char.strip(texts)
    if (texts == "").any():
        raise DataError(f"{source}: label number {int(np.flatnonzero(texts == '')[0])} is an empty text; fill it")
    is_number = all(NUMBER.fullmatch(text) for text in np.unique(texts).tolist())
    return texts.astype(np.float64) if is_number else texts


def _as_numbers(labels: NDArray[Any], source: str) -> NDArray[Any]:
    if labels.dtype.kind == "U":
        return labels
    if labels.dtype.kind not in "buif":
        raise DataError(f"{source}: labels are of the type {labels.dtype}, expected numbers or texts")
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels % 1 == 0).all()):
        wrong = labels[~np.isfinite(labels) | (labels % 1 != 0)][0]
        raise DataError(f"{source}: one label is {wrong:g}, expected whole numbers or names: each is a class")
    return labels.astype(np.int64)


def classes_of(
    train: NDArray[Any], test: NDArray[Any] | None, file_names: Sequence[str] | None, chosen: Sequence[str] | None,
    changes: list[str],
) -> Classes:  # fmt: skip
    """Returns the labels as numbers from 0. The training part says which classes exist.

    Args:
        train: labels of the training part, as `flat_labels` returns them.
        test: labels of the test part, or None.
        file_names: names of the labels 0, 1, ... in the files.
        chosen: names that the user gave.
        changes: gets sentences about labels that are numbered anew.

    Raises:
        DataError: there are too few or too many classes, or the test part has others.
    """
    parts = [train] if test is None else [train, test]
    if len({part.dtype.kind for part in parts}) > 1:
        raise DataError("the labels are numbers in one part and texts in the other, expected the same in both")
    present = np.unique(train).tolist()
    if file_names is not None and train.dtype.kind == "i":
        present = list(range(len(file_names)))
    elif train.dtype.kind == "U":
        present.sort(key=natural_key)
        _check_distinct(present)
    _check_values(present, parts)
    names = [*file_names] if file_names is not None and train.dtype.kind == "i" else [str(value) for value in present]
    if train.dtype.kind == "i" and present != list(range(len(present))):
        shown = f"{present[0]} to {present[-1]}" if _is_range(present) else ", ".join(map(str, present[:12]))
        shown += ", ..." if not _is_range(present) and len(present) > 12 else ""
        changes.append(f"labels {shown} become 0 to {len(present) - 1}; their numbers are the names of the classes")
    index = {value: number for number, value in enumerate(present)}
    numbered = [np.array([index[value] for value in part.tolist()], np.uint8) for part in parts]
    if chosen:
        if len(chosen) != len(present):
            raise DataError(f"--class-names has {len(chosen)} names, but there are {len(present)} classes: {names}")
        names = [*chosen]
    is_plain = names == [str(number) for number in range(len(names))]
    return Classes(numbered[0], numbered[1] if test is not None else None, len(present), None if is_plain else names)


def _check_values(present: list[Any], parts: Sequence[NDArray[Any]]) -> None:
    if len(present) < CLASSES[0]:
        raise DataError(
            f"all labels are {present[0]!r}, expected at least {CLASSES[0]} classes; add images of another one"
        )
    if len(present) > CLASSES[1]:
        raise DataError(
            f"the labels have {len(present):,} different values, such as {present[0]} and {present[1]}, expected "
            f"{CLASSES[0]} to {CLASSES[1]} classes; check that these are labels (--label, --y-train)"
        )
    known = set(present)
    for part, what in zip(parts, ("training", "test"), strict=False):
        unknown = next((value for value in np.unique(part).tolist() if value not in known), None)
        if unknown is not None:
            hidden = (
                "its labels are hidden, so leave it out" if unknown == -1 else "remove these images or correct them"
            )
            raise DataError(
                f"the {what} part has the label {unknown!r}, expected one of the {len(present)} classes of the "
                f"training part; {hidden}"
            )


def _check_distinct(names: Sequence[str]) -> None:
    numbers: dict[Decimal, str] = {}
    for name in filter(ANY_WHOLE.fullmatch, names):
        other = numbers.setdefault(Decimal(name), name)
        if other != name:
            raise DataError(
                f"the labels are texts, of which {other!r} and {name!r} are one number, so it is not certain that they "
                "are two classes; write the number in one form"
            )


def _is_range(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int) for v in values) and values[-1] - values[0] == len(values) - 1
