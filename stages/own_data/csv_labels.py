"""The labels of a CSV file: which column has them, and which of them are numbers."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import CLASSES
from stages.own_data.pieces import LABEL_WORDS, Choice, Piece, words

# Numbers as programs write them, such as 7, -1, 7.0 and 7.000e+00 of np.savetxt; 07 and 1e1 can be codes.
LONGEST = 40  # characters of the name of a column in a message
PLAIN_NUMBER = re.compile(r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE][+-]\d{1,3})?")


class Values:
    """Counts the different values of a column in all its chunks, as far as they could be classes."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._is_complete = True

    def add(self, texts: Iterable[str], *, is_complete: bool) -> None:
        """Adds the different `texts` of a chunk; `is_complete` is False if a line has none."""
        self._is_complete = self._is_complete and is_complete
        if len(self._found) <= CLASSES[1]:
            self._found.update(text.strip() for text in texts)

    @property
    def is_likely_label(self) -> bool:
        """Whether the values could be labels: whole numbers or texts, as many as classes are possible."""
        numbers = [value for value in self._found if is_number(value)]
        is_whole = all(float(value).is_integer() for value in numbers)
        return is_whole and CLASSES[0] <= len(self._found) <= CLASSES[1] and self._is_complete

    @property
    def only(self) -> str | None:
        """The single value of the column; None if it has several."""
        return next(iter(self._found)) if len(self._found) == 1 else None


def named_column(names: Sequence[str], has_names: bool, label: str | None) -> int | None:
    """Returns the column that `label` says, or a name of the header; None if no header has names.

    Raises:
        DataError: there is no such column, or the header does not say which one it is.
    """
    if label is not None:
        if label in names:
            return list(names).index(label)
        if re.fullmatch("-?[0-9]{1,9}", label) and -len(names) <= int(label) < len(names):
            return int(label) % len(names)
        raise DataError(f"has no column {label[:LONGEST]} (--label), but {_some(names)}")
    if not has_names:
        return None
    named = [i for i, name in enumerate(names) if set(words(name)) & LABEL_WORDS]
    if len(named) == 1:
        return named[0]
    got = "no column is named as a label" if not named else f"{len(named)} columns are named as labels"
    raise DataError(
        f"{got} in {_some(names)}; name it by --label COLUMN, or leave out a file without labels, such as Kaggle's "
        "test.csv"
    )


def _some(names: Sequence[str]) -> str:
    """Returns the first names of columns and the last one, each cut to its start."""
    return f"{', '.join(name[:LONGEST] for name in names[:4])}, ..., {names[-1][:LONGEST]}"


def outer_columns(names: Sequence[str]) -> tuple[int, int]:
    """Returns the first and the last column, without an index, which has no name."""
    return int(not names[0]), len(names) - 1


def choose(names: Sequence[str], first: Values, last: Values) -> Choice:
    """Returns which of the outer columns has the labels, by their values in the whole file.

    Raises:
        DataError: both or none of them could be the label.
    """
    columns = tuple(names[i] for i in outer_columns(names))
    likely = first.is_likely_label, last.is_likely_label
    if likely[0] != likely[1]:
        return Choice(likely[1], (first if likely[1] else last).only, (columns[0], columns[1]))
    got = "both the first and the last column" if all(likely) else "neither the first nor the last column"
    raise DataError(
        f"{got} could be the label, and no header names it; say it by --label {columns[0]} or --label {columns[1]}"
    )


def check_choices(pieces: Sequence[Piece]) -> None:
    """Compares the columns that were chosen as labels in several CSV files.

    A column with one value in each file, and another one in each, is the label of files of one class.

    Raises:
        DataError: another column could be the label.
    """
    chosen = [(piece.source, piece.choice) for piece in pieces if piece.choice]
    for source, choice in chosen[1:]:
        before, first = chosen[0]
        others = {each.other for _, each in chosen if each.other is not None}
        if choice.is_last != first.is_last or len(others) > 1:
            raise DataError(
                f"{before} and {source}: both the first and the last column could be the label of these files, and no "
                f"header names it; say it by --label {choice.columns[0]} or --label {choice.columns[1]}"
            )


def typed_labels(texts: NDArray[np.str_]) -> NDArray[Any]:
    """Returns the labels (n,) of a CSV file as float64 if all are plain numbers, else as the texts that they are."""
    stripped = np.char.strip(texts)
    is_plain = all(PLAIN_NUMBER.fullmatch(text) for text in np.unique(stripped).tolist())
    return stripped.astype(np.float64) if is_plain else stripped


def is_number(cell: str) -> bool:
    """Returns whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
