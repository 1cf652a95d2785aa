"""CSV files with one image a line: a label and the pixels, with or without a header, as Kaggle gives them."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import CLASSES, SIDES
from stages.own_data.files import Bounded, open_unpacked
from stages.own_data.options import Options
from stages.own_data.pieces import LABEL_WORDS, Piece, together, words

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
        label: index of the label's column.
        pixels: indices of the columns of pixels.
        skipped: number of lines before the first image: blank ones, and the header.
        separator: of the columns.
        notes: sentences about what was read in another way, or left out.
    """

    names: list[str]
    label: int
    pixels: list[int]
    skipped: int
    separator: str
    notes: list[str]


def read_csv(path: Path, name: str, part: str | None, options: Options) -> list[Piece]:
    """Returns the piece of a CSV file.

    Raises:
        DataError: the file is no such table; the message has the line and the column, and does not name the file.
    """
    with open_unpacked(path) as file:
        first = file.read(MAX_LINE)
    layout = find_layout(first, options.label)
    line = partial(_line, path, layout)
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    with open_unpacked(path) as file:
        try:
            for chunk in pd.read_csv(
                Bounded(file, options.max_bytes),  # type: ignore[call-overload]  # it reads bytes
                sep=layout.separator,
                header=None,
                skiprows=layout.skipped,
                chunksize=max(1, CHUNK_VALUES // len(layout.names)),
                skipinitialspace=True,
                keep_default_na=False,
                na_values=[""],
                low_memory=False,
                encoding_errors="replace",
            ):
                _check_width(chunk, layout)
                labels.append(_labels(chunk[layout.label], layout, line))
                images.append(_pixels(chunk[layout.pixels], layout, line))
        except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")[:120]
            raise DataError(f"is no table of equal lines ({reason}); {REMEDY}") from error
    if not images:
        raise DataError(f"has no line of pixels; {REMEDY}")
    notes = [f"{name}: {note}" for note in layout.notes]
    return [Piece(name, part, together(images), together(labels), notes=notes)]


def find_layout(start: bytes, label: str | None) -> Layout:
    """Returns the layout of the table that begins with `start`.

    Args:
        start: the first lines, or the first line alone if it is long.
        label: name or number of the label's column, if the user gave it.

    Raises:
        DataError: the label is not certain, or the file is no such table.
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
    has_header = is_numbered or _is_header(first, rows[1] if len(rows) > 1 else [])
    names = first if has_header else [str(number) for number in range(len(first))]
    body = [row for row in rows[int(has_header) :] if len(row) == len(first)]
    column = _label_column(names, body, has_header and not is_numbered, label)
    ignored = {
        i for i, cell in enumerate(names) if has_header and i != column and (not cell or set(words(cell)) & IGNORED)
    }
    pixels = [i for i in range(len(names)) if i != column and i not in ignored]
    notes = []
    if is_numbered:
        notes.append(f"the first line, {', '.join(filter(None, first[:5]))}, ..., is a header of numbers")
    if ignored:
        left_out = ", ".join(names[i] or "a column without a name" for i in sorted(ignored))
        notes.append(f"no pixels, and left out: {left_out}")
    return Layout(names, column, pixels, blank + int(has_header), separator, notes)


def _is_numbered(first: Sequence[str]) -> bool:
    """Returns whether the first line is a header of numbers, as pandas writes it for columns without names.

    It counts from 0 or 1, after an empty name of the index. Or it was an image that pandas read as a header: then its
    second 7 is named 7.1, its third 7.2.
    """
    cells = list(first[1:] if first[0] == "" else first)
    if any(cells == [str(number) for number in range(start, start + len(cells))] for start in (0, 1)):
        return True
    seen: Counter[str] = Counter()
    named = []
    for cell in (cell.partition(".")[0] for cell in cells):
        named.append(f"{cell}.{seen[cell]}" if seen[cell] else cell)
        seen[cell] += 1
    return cells == named and len(seen) < len(cells) and all(map(_is_number, cells))


def _is_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Returns whether the first line has names: texts above numbers, or the name of a label."""
    texts = [(i, cell) for i, cell in enumerate(first) if not _is_number(cell)]
    above = [i for i, cell in texts if cell and i < len(second) and _is_number(second[i])]
    return bool(above or any(set(words(cell)) & LABEL_WORDS for _, cell in texts)) or len(texts) == len(first)


def _cells(line: str, separator: str) -> list[str]:
    if separator == r"\s+":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter=separator))]
    except csv.Error as error:  # a cell that is too long
        raise DataError(f"is no table ({error}); {REMEDY}") from error


def _label_column(names: Sequence[str], body: Sequence[Sequence[str]], has_names: bool, label: str | None) -> int:
    if label is not None:
        if label in names:
            return list(names).index(label)
        if re.fullmatch("-?[0-9]{1,9}", label) and -len(names) <= int(label) < len(names):
            return int(label) % len(names)
        raise DataError(f"has no column {label} (--label), but {', '.join(names[:4])}, ..., {names[-1]}")
    if has_names:
        named = [i for i, name in enumerate(names) if set(words(name)) & LABEL_WORDS]
        if len(named) == 1:
            return named[0]
        got = "no column is named as a label" if not named else f"{len(named)} columns are named as labels"
        raise DataError(
            f"{got} in {', '.join(names[:4])}, ..., {names[-1]}; name it by --label COLUMN, or leave out a file "
            "without labels, such as Kaggle's test.csv"
        )
    outer = (int(not names[0]), len(names) - 1)  # an index has no name
    likely = [i for i in outer if _is_likely_label([row[i] for row in body])]
    if len(likely) == 1:
        return likely[0]
    got = "neither the first nor the last column" if not likely else "both the first and the last column"
    raise DataError(
        f"{got} could be the label, and no header names it; say it by --label {names[outer[0]]} or --label "
        f"{names[outer[1]]}"
    )


def _is_likely_label(values: Sequence[str]) -> bool:
    numbers = [value for value in values if _is_number(value)]
    whole = all(float(value).is_integer() for value in numbers)
    return whole and CLASSES[0] <= len(set(values)) <= CLASSES[1] and "" not in values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_width(chunk: pd.DataFrame, layout: Layout) -> None:
    if chunk.shape[1] != len(layout.names):
        raise DataError(
            f"has {chunk.shape[1]:,} columns, expected the {len(layout.names):,} of its first line; {REMEDY}"
        )


def _labels(column: "pd.Series[Any]", layout: Layout, line: Line) -> NDArray[Any]:
    if column.isna().any():
        number = line(column.index[column.isna()][0])
        raise DataError(f"line {number} has no label in column {layout.names[layout.label]}; add it or remove the line")
    return column.to_numpy(dtype=np.str_) if column.dtype.kind not in "iufb" else column.to_numpy()


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
