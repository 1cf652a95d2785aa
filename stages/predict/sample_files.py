"""Reads samples that are no images, from npy, npz and CSV files; a file that cannot be used becomes a RejectedInput.

A sample of a CSV file is a row of numbers, of a sequence step by step. A first row of texts alone is a heading.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, raise_fault
from stages.data.npz import Entry
from stages.predict.image_arrays import Images, RejectedInput, open_arrays
from stages.predict.image_files import (
    ARRAY_SIGNATURES,
    PICTURE_SIGNATURES,
    SUFFIXES,
    file_signature,
    local_file,
    short_message,
)
from stages.predict.sample_form import SampleForm

SAMPLE_SUFFIXES = (*SUFFIXES, ".csv")  # of the files in a folder; pictures are refused
CHUNK_VALUES = 1_000_000  # in one chunk, or one larger sample: 4 MB of float32
CHUNK_ROWS = 256  # of a CSV file
NUMBER_CHARACTERS = 64  # of a cell, at most on average
DELIMITERS = "\t;,"  # the first one in the first line; spaces if there is none


def read_samples(name: str, form: SampleForm) -> Iterator[Images | RejectedInput]:
    """Yields the samples of the file `name` in chunks; `-` is standard input. A RejectedInput ends a damaged file."""
    try:
        with local_file(name) as path:
            yield from _decode(path, name, form)
    except DataError as error:
        yield RejectedInput(name, str(error))
    except OSError as error:
        raise_fault(error)
        yield RejectedInput(name, f"cannot be read ({error.strerror})")


def _decode(path: Path, name: str, form: SampleForm) -> Iterator[Images | RejectedInput]:
    signature = file_signature(path)
    if not signature:
        raise DataError("is empty")
    if signature.startswith(ARRAY_SIGNATURES):
        yield from _read_arrays(path, name, form)
    elif signature.startswith(PICTURE_SIGNATURES):
        raise DataError(f"is a picture, but the model takes {form}; give it a npy, npz or CSV file")
    else:
        yield from _read_rows(path, name, form)


def _read_arrays(path: Path, name: str, form: SampleForm) -> Iterator[Images | RejectedInput]:
    with open_arrays(path) as arrays:
        suitable = {array: entry for array, entry in arrays.items() if _is_suitable(entry, form, one=not array)}
        if not suitable:
            got = ", ".join(f"{entry.dtype} of shape {entry.shape}" for entry in arrays.values()) or "no array"
            expected = ", ".join(("n", *map(str, form.shape)))
            raise DataError(f"holds {got}, expected numbers of shape ({expected}): the model takes {form}")
        for array, entry in suitable.items():
            label = f"{name}:{array}" if array else name
            if entry.shape == form.shape:
                yield from _checked([label], entry.read()[np.newaxis], form)
                continue
            start = 0
            for chunk in entry.chunks(max(1, CHUNK_VALUES // math.prod(form.shape))):
                yield from _checked([f"{label}[{start + row}]" for row in range(len(chunk))], chunk, form)
                start += len(chunk)


def _is_suitable(entry: Entry, form: SampleForm, *, one: bool) -> bool:
    """Returns whether `entry` has samples of the `form`: several, or if `one` is set also a single one."""
    is_known = entry.shape[1:] == form.shape or (one and entry.shape == form.shape)
    return is_known and 0 not in entry.shape and entry.dtype.kind in "buif"


def _checked(names: list[str], samples: NDArray[Any], form: SampleForm) -> Iterator[Images | RejectedInput]:
    """Yields `samples` (n, *shape) as float32, but rejects those with a value that the model does not take."""
    right = form.takes(samples)
    if right.all():
        yield Images(names, samples.astype(np.float32), from_array=True)
        return
    for name, sample, is_right in zip(names, samples, right, strict=True):
        if is_right:
            yield Images([name], sample[np.newaxis].astype(np.float32), from_array=True)
        else:
            got = f"from {sample.min():g} to {sample.max():g}"
            finite = "" if form.vocabulary else ", all of them finite"
            yield RejectedInput(name, f"has values {got}, but the model takes {form}{finite}")


def _read_rows(path: Path, name: str, form: SampleForm) -> Iterator[Images | RejectedInput]:
    """Yields the samples in the rows of a CSV file.

    Raises:
        DataError: the file is no text, or holds no row.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = enumerate(_without_heading(_rows(file, math.prod(form.shape))))
            if not (chunk := list(islice(rows, CHUNK_ROWS))):
                raise DataError(f"holds no row of numbers, but the model takes {form}")
            while chunk:
                yield from _from_rows(chunk, name, form)
                chunk = list(islice(rows, CHUNK_ROWS))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"is no npy or npz file, and no CSV file either ({short_message(error)})") from error


def _rows(file: IO[str], values: int) -> Iterator[list[str]]:
    """Yields the cells of each line that is not empty, of a file whose rows have so many `values`."""
    limit = NUMBER_CHARACTERS * (values + 100)
    delimiter: str | None = None
    while line := file.readline(limit):
        if len(line) == limit:
            raise DataError(f"is no npy or npz file, and has a line of {limit:,} characters or more, too long for CSV")
        if not line.strip():
            continue
        if delimiter is None:
            delimiter = next((mark for mark in DELIMITERS if mark in line), " ")
        cells = line.split() if delimiter == " " else next(csv.reader([line], delimiter=delimiter))
        yield cells


def _without_heading(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yields `rows` without the first one, if it is a heading: none of its cells is a number, and one has a text.

    A first row with numbers and other cells is a sample with missing or wrong values, which is refused by itself.
    """
    first = next(rows, None)
    if first is not None and (any(_numbers([cell]) is not None for cell in first) or not "".join(first).strip()):
        yield first
    yield from rows


def _numbers(row: Sequence[str]) -> list[float] | None:
    """Returns the numbers in the cells of `row`, or None if a cell has no number."""
    try:
        return [float(cell) for cell in row]
    except ValueError:
        return None


def _from_rows(rows: Sequence[tuple[int, list[str]]], name: str, form: SampleForm) -> Iterator[Images | RejectedInput]:
    """Yields the samples of numbered `rows`."""
    names: list[str] = []
    samples: list[list[float]] = []
    for number, row in rows:
        values = _numbers(row)
        if values is not None and len(values) == math.prod(form.shape):
            names.append(f"{name}[{number}]")
            samples.append(values)
            continue
        yield from _from_numbers(names, samples, form)
        names, samples = [], []
        wrong = next((cell for cell in row if _numbers([cell]) is None), None)
        got = f"{len(row)} numbers" if wrong is None else f"the cell {wrong[:20]!r}"
        yield RejectedInput(
            f"{name}[{number}]",
            f"has {got}, expected {math.prod(form.shape)} numbers in a row, without labels: the model takes {form}",
        )
    yield from _from_numbers(names, samples, form)


def _from_numbers(names: list[str], samples: list[list[float]], form: SampleForm) -> Iterator[Images | RejectedInput]:
    if names:
        yield from _checked(names, np.array(samples).reshape(-1, *form.shape), form)
