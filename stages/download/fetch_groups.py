"""Fetches the groups of a data set: an npz file of the mirror or of Keras's cache, or IDX files of the addresses."""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, InvalidInput, SourceUnavailable, raise_fault
from stages.base.shown_text import shown_text, shown_url
from stages.data.config import Dataset, PartNames
from stages.data.config import Groups as GroupsParams
from stages.data.datasets import Arrays, Description, digest, error_context
from stages.data.groups import Groups, as_groups, own_groups, read_group_entry
from stages.data.npz import open_npz
from stages.download.sources import DOWNLOADS, MIRROR, Source, file_sources, local_file

IDX_INT32 = 0x0C  # type code of big-endian int32 in an IDX file (http://yann.lecun.com/exdb/mnist)
MAX_COLUMNS = 64
MAX_BYTES = 100_000_000
Read = Callable[[list[Source], GroupsParams, list[int], float], Groups]


def held_out_groups(dataset: Dataset, description: Description, arrays: Arrays, read_timeout_s: float) -> Groups:
    """Returns the groups that `prepare.held_out: groups` needs: of the data set's section `groups`, or in `arrays`.

    Raises:
        DataError: a source has an invalid file.
        InvalidInput: no groups are known.
        SourceUnavailable: no source has the groups.
    """
    if dataset.groups:
        return fetch_groups(dataset.groups, description, read_timeout_s)
    groups = own_groups(description.name, arrays)
    if groups is None:
        raise InvalidInput(
            f"prepare.held_out is groups, but datasets.{description.name} has no `groups`, and its file no array "
            "g_train; add one of them, or choose `random` or `last`"
        )
    return groups


def fetch_groups(params: GroupsParams, description: Description, read_timeout_s: float) -> Groups:
    """Returns the groups from the first source that has them, after checking their number and digests.

    Args:
        params: the section `groups` of the data set.
        description: the data set; its parts have one group for each sample.
        read_timeout_s: largest time without data, in seconds.

    Raises:
        DataError: a source has an invalid file.
        SourceUnavailable: no source has the groups.
    """
    counts = [description.arrays[f"y_{part}"].shape[0] for part in params.parts]
    failures = []
    for sources, read in _sources(params):
        label = " and ".join(source.label for source in sources)
        try:
            with error_context(
                label, f"fix or remove this source, or set {MIRROR} to one with the right {params.file}"
            ):
                groups = read(sources, params, counts, read_timeout_s)
                _check_digests(groups, params)
        except SourceUnavailable as error:
            print(shown_text(f"{label}: not used, {error}"), flush=True)
            failures.append(f"{label}: {error}")
            continue
        print(shown_text(f"{label}: used, its groups are as expected"), flush=True)
        return groups
    raise SourceUnavailable(
        f"cannot get the groups of {description.name} ({'; '.join(failures)}), which `prepare.held_out: groups` needs: "
        f"set {MIRROR} to a folder or address with {params.file}, or choose `random` or `last`"
    )


def _sources(params: GroupsParams) -> Iterator[tuple[list[Source], Read]]:
    """Yields the sources in their order, each with its function: one npz file, or an IDX file of each part."""
    *mirror, cache = file_sources(params.file, None, os.environ)
    yield from (([source], _read_npz) for source in mirror)
    if params.urls:
        yield [Source(shown_url(url), url) for url in _names(params.urls, params)], _read_idx
    yield [cache], _read_npz


def _names(names: PartNames, params: GroupsParams) -> list[str]:
    return [getattr(names, part) for part in params.parts]


def _read_npz(sources: list[Source], params: GroupsParams, counts: list[int], read_timeout_s: float) -> Groups:
    names = _names(params.arrays, params)
    with (
        local_file(sources[0], params.file, MAX_BYTES, read_timeout_s, DOWNLOADS) as path,
        open_npz(path, names, MAX_BYTES) as entries,
    ):
        return Groups(*(read_group_entry(entries[name], count) for name, count in zip(names, counts, strict=True)))


def _read_idx(sources: list[Source], params: GroupsParams, counts: list[int], read_timeout_s: float) -> Groups:
    parts = []
    for source, count in zip(sources, counts, strict=True):
        with local_file(source, params.file, MAX_BYTES, read_timeout_s, DOWNLOADS) as path:
            parts.append(as_groups("the column", read_idx_column(path, params.column, count)))
    return Groups(*parts)


def read_idx_column(path: Path, column: int, count: int) -> NDArray[np.int32]:
    """Returns a column, int32 (count,), of the first `count` rows of an IDX file of int32 that is packed by gzip.

    Raises:
        DataError: the file is damaged, has another type, too few rows or no such column; the message does not name it.
    """
    try:
        with gzip.open(path) as file:
            header = file.read(12)
            if header[:4] != bytes((0, 0, IDX_INT32, 2)) or len(header) < 12:
                raise DataError(f"it begins with {header[:4]!r}, expected an IDX file of int32 with two dimensions")
            rows, columns = (int.from_bytes(header[start : start + 4]) for start in (4, 8))
            if rows < count or not column < columns <= MAX_COLUMNS:
                raise DataError(
                    f"it has {rows:,} rows of {columns:,} columns, expected at least {count:,} rows and at most "
                    f"{MAX_COLUMNS} columns, column {column} among them"
                )
            content = file.read(count * columns * 4)
    except (OSError, EOFError, zlib.error) as error:
        raise_fault(error)
        raise DataError(f"it is damaged or cut short ({error})") from error
    if len(content) < count * columns * 4:
        raise DataError(f"it ends after {len(content):,} bytes of its rows, expected {count * columns * 4:,}")
    return np.frombuffer(content, ">i4").reshape(count, columns)[:, column]


def _check_digests(groups: Groups, params: GroupsParams) -> None:
    for part in params.parts:
        got, expected = digest(getattr(groups, part)), getattr(params.sha256, part)
        if got != expected:
            raise DataError(f"the groups of the {part} part have sha256 {got}, expected {expected}")
