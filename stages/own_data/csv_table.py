"""CSV files with one image a line: a label and the pixels, with or without a header, as Kaggle gives them."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import SIDES
from stages.own_data.csv_labels import Values, choose, is_number, named_column, outer_columns, typed_labels
from stages.own_data.files import Bounded, open_unpacked
from stages.own_data.options import Options
from stages.own_data.pieces import LABEL_WORDS, Choice, Piece, together, words

MAX_LINE = 4_000_000  # bytes of the first line
MAX_COLUMNS = 3 * SIDES[1] ** 2 + 10
CHUNK_VALUES = 4_000_000
IGNORED = {"id", "index", "usage", "unnamed", "split", "filename", "name"}  # columns that are no pixels
REMEDY = "expected a label and then the pixels, one image a line"
Line = Callable[[Any], int]  # the number of the line of an index of pandas


class Layout(NamedTuple):
    """How the columns are read.

    Attributes:
        names: of all columns.
        label: index of the label's column; None means that it is the first or the last one, which the values tell.
        ignored: indices of the columns that are neither the label nor pixels.
        skipped: number of lines before the first image: blank ones, and the header.
        separator: of the columns.
        notes: sentences about what was read in another way, or left out.
    """

    names: list[str]
    label: int | None
    ignored: set[int]
    skipped: int
    separator: str
    notes: list[str]

    @property
    def pixels(self) -> list[int]:
        """Indices of the columns of pixels."""
        return [i for i in range(len(self.names)) if i != self.label and i not in self.ignored]


def read_csv(path: Path, name: str, part: str | None, options: Options) -> list[Piece]:
    """Returns the piece of a CSV file.

    Raises:
        DataError: the file is no such table; the message has the line and the column, and does not name the file.
    """
    with open_unpacked(path) as file:
        first = file.read(MAX_LINE)
    layout, choice = find_layout(first, options.label), None
    if layout.label is None:
        choice = _choice(path, layout, options.max_bytes)
        layout = layout._replace(label=outer_columns(layout.names)[int(choice.is_last)])
    line = partial(_line, path, layout)
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    for chunk in _chunks(path, layout, options.max_bytes, {layout.label: str}):
        _check_width(chunk, layout)
        labels.append(_labels(chunk[layout.label], layout, line))
        images.append(_pixels(chunk[layout.pixels], layout, line))
    if not images:
        raise DataError(f"has no line of pixels; {REMEDY}")
    notes = [f"{name}: {note}" for note in layout.notes]
    return [Piece(name, part, together(images), typed_labels(together(labels)), notes=notes, choice=choice)]


def _choice(path: Path, layout: Layout, max_bytes: int) -> Choice:
    """Returns which of the outer columns has the labels; the first lines of a sorted file have one label."""
    columns = outer_columns(layout.names)
    values = {column: Values() for column in columns}
    for chunk in _chunks(path, layout, max_bytes, dict.fromkeys(columns, str), list(values)):
        if any(column not in chunk.columns for column in columns):
            raise DataError(f"has lines without the {len(layout.names):,} columns of its first line; {REMEDY}")
        for column, seen in values.items():
            texts = chunk[column].dropna()
            seen.add(texts.unique().tolist(), is_complete=len(texts) == len(chunk))
    return choose(layout.names, *(values[column] for column in columns))


def _chunks(
    path: Path, layout: Layout, max_bytes: int, types: dict[int | None, type], columns: list[int] | None = None
) -> Iterator[pd.DataFrame]:
    """Yields the lines in tables of some million values; `types` are those of single columns, as pandas takes them.

    Raises:
        DataError: the file is no table of equal lines, or larger than `max_bytes`.
    """
    with open_unpacked(path) as file:
        try:
            yield from pd.read_csv(
                Bounded(file, max_bytes),  # type: ignore[call-overload]  # it reads bytes
                sep=layout.separator,
                header=None,
                usecols=columns,
                dtype=types,
                skiprows=layout.skipped,
                chunksize=max(1, CHUNK_VALUES // len(layout.names)),
                skipinitialspace=True,
                keep_default_na=False,
                na_values=[""],
                low_memory=False,
                encoding_errors="replace",
            )
        except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")[:120]
            raise DataError(f"is no table of equal lines ({reason}); {REMEDY}") from error


def find_layout(start: bytes, label: str | None) -> Layout:
    """Returns the layout of the table that begins with `start`.

    Args:
        start: the first lines, or the first line alone if it is long.
        label: name or number of the label's column, if the user gave it.

    Raises:
        DataError: the header or `label` does not tell the label's column, or the file is no such table.
    """
    text = start.decode("utf-8-sig", "replace")
    lines = text.splitlines()
    blank = next((number for number, line in enumerate(lines) if line.strip()), 0)
    lines = lines[blank:] or [""]
    separator = max(",;\t", key=lines[0].count)
    separator = separator if separator in lines[0] else r"\s+"
    rows = [_cells(line, separator) for line in lines[:200] if line.strip()]
    rows = rows[:-1] if len(rows) == 200 or (len(start) == MAX_LINE and len(rows) > 1) else rows  # the last may be cut
    first = rows[0] if rows else []
    if not 2 <= len(first) <= MAX_COLUMNS:
        raise DataError(f"has {len(first):,} columns in its first line, expected 2 to {MAX_COLUMNS:,}: {REMEDY}")
    is_numbered = _is_numbered(first)
    has_header = is_numbered or _is_header(first, rows[1:])
    names = first if has_header else [str(number) for number in range(len(first))]
    column = named_column(names, has_header and not is_numbered, label)
    ignored = {
        i for i, cell in enumerate(names) if has_header and i != column and (not cell or set(words(cell)) & IGNORED)
    }
    notes = []
    if is_numbered:
        notes.append(f"the first line, {', '.join(filter(None, first[:5]))}, ..., is a header of numbers")
    if ignored:
        left_out = ", ".join(names[i] or "a column without a name" for i in sorted(ignored))
        notes.append(f"no pixels, and left out: {left_out}")
    return Layout(names, column, ignored, blank + int(has_header), separator, notes)


def _is_numbered(first: Sequence[str]) -> bool:
    """Returns whether the first line is a header of numbers, as pandas writes it for columns without names.

    It counts from 0 or 1, after an empty name of the index. Or it was an image that pandas read as a header: then its
    second 7 is named 7.1, its third 7.2.
    """
    cells = list(first[1:] if first[0] == "" else first)
    if _counts(cells):
        return True
    seen: Counter[str] = Counter()
    named = []
    for cell in (cell.partition(".")[0] for cell in cells):
        named.append(f"{cell}.{seen[cell]}" if seen[cell] else cell)
        seen[cell] += 1
    return cells == named and len(seen) < len(cells) and all(map(is_number, cells))


def _counts(cells: Sequence[str]) -> bool:
    """Returns whether cells are the numbers from 0 or from 1 on."""
    return any([*cells] == [str(number) for number in range(start, start + len(cells))] for start in (0, 1))


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Returns whether the first line has names: texts above numbers, or the name of a label.

    Beside numbers of which some are equal, which are pixels, a single letter is a label, and so is a word above its
    like: the names of columns are all different.
    """
    texts = [(i, cell) for i, cell in enumerate(first) if cell and not is_number(cell)]
    named = [(i, word) for i, cell in texts for word in set(words(cell)) & LABEL_WORDS]
    numbers = [cell for cell in first if is_number(cell)]
    if len(set(numbers)) < len(numbers):  # pixels; the names of columns do not repeat
        below = {i: {word for row in others if i < len(row) for word in words(row[i])} for i, _ in named}
        return any(len(word) > 1 and word not in below[i] for i, word in named)
    second = others[0] if others else []
    above = [i for i, _ in texts if i < len(second) and is_number(second[i])]
    return bool(above or named or not numbers)


def _cells(line: str, separator: str) -> list[str]:
    if separator == r"\s+":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter=separator))]
    except csv.Error as error:  # a cell that is too long
        raise DataError(f"is no table ({error}); {REMEDY}") from error


def _check_width(chunk: pd.DataFrame, layout: Layout) -> None:
    if chunk.shape[1] != len(layout.names):
        raise DataError(
            f"has {chunk.shape[1]:,} columns, expected the {len(layout.names):,} of its first line; {REMEDY}"
        )


def _labels(column: "pd.Series[Any]", layout: Layout, line: Line) -> NDArray[Any]:
    if column.isna().any():
        number = line(column.index[column.isna()][0])
        name = layout.names[layout.label or 0]
        raise DataError(f"line {number} has no label in column {name}; add it or remove the line")
    return column.to_numpy(dtype=np.str_)


def _pixels(chunk: pd.DataFrame, layout: Layout, line: Line) -> NDArray[Any]:
    """Returns the pixels (n, columns), as bytes where they are whole numbers from 0 to 255."""
    for column in chunk.columns[[kind.kind not in "iufb" for kind in chunk.dtypes]]:
        try:
            numbers = pd.to_numeric(chunk[column], errors="coerce")
        except OverflowError:  # a whole number that no float can hold
            numbers = pd.to_numeric(chunk[column].map(str), errors="coerce").replace([np.inf, -np.inf], np.nan)
        bad = numbers.isna() & chunk[column].notna()
        if bad.any():
            index = chunk.index[bad][0]
            text = str(chunk[column][index])[:20]
            raise DataError(
                f"line {line(index)} has {text!r} in column {layout.names[int(column)]}, expected the number "
                "of a pixel; fix the line, or name the label's column by --label"
            )
        chunk = chunk.copy()
        chunk[column] = numbers
    if len(flags := chunk.columns[chunk.dtypes == np.bool_]):  # True and False beside numbers make an array of objects
        chunk = chunk.astype(dict.fromkeys(flags, np.uint8))
    values = chunk.to_numpy()
    if values.dtype.kind == "f" and np.isnan(values).any():
        row, place = (int(index[0]) for index in np.nonzero(np.isnan(values)))
        column = layout.names[int(chunk.columns[place])]
        raise DataError(f"line {line(chunk.index[row])} has no number in column {column}; fix or remove the line")
    is_bytes = values.min() >= 0 and values.max() <= 255 and (values.dtype.kind != "f" or (values % 1 == 0).all())
    if is_bytes:
        return values.astype(np.uint8)
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _line(path: Path, layout: Layout, index: Any) -> int:
    """Returns the number of the line of an image in the file, counted from 1; pandas does not count blank lines."""
    blanks = " \r\n" if layout.separator == "\t" else None  # a line of tabs alone has cells
    left = int(index)
    with open_unpacked(path) as file:
        for number, line in enumerate(file, 1):
            left -= number > layout.skipped and bool(line.decode("latin-1").strip(blanks))
            if left < 0:
                return number
    return layout.skipped + int(index) + 1  # not reached: pandas read the line
