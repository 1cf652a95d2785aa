"""Groups of a data set: what each sample comes from, such as its writer. Read and written as groups.npz."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.base.files import replacing
from stages.data.datasets import error_context, write_npz
from stages.data.npz import Entry, array_names, open_npz

GROUPS_FILE = "groups.npz"
REMEDY = "run the download stage again: inkflow run --force download"


class Groups(NamedTuple):
    """The group of each sample, int32 (n,), of the training and the test part. Equal numbers mean equal groups."""

    train: NDArray[np.int32]
    test: NDArray[np.int32]


def write_groups(path: Path, groups: Groups | None) -> None:
    """Writes groups.npz, without arrays if `groups` is None.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        write_npz(temporary, {} if groups is None else {"g_train": groups.train, "g_test": groups.test})


def read_groups(path: Path, samples: int) -> Groups:
    """Reads the groups that the download stage wrote, with one number for each of `samples` training samples.

    Raises:
        DataError: the file is missing or invalid, or has no groups.
    """
    with error_context(str(path), REMEDY):
        if not array_names(path):
            raise DataError("it has no groups, expected one for each sample, because `prepare.held_out` is `groups`")
        with open_npz(path, ("g_train", "g_test"), path.stat().st_size) as entries:
            train, test = read_group_entry(entries["g_train"], samples), read_group_entry(entries["g_test"])
            return Groups(train, test)


def read_group_entry(entry: Entry, samples: int | None = None) -> NDArray[np.int32]:
    """Reads one group for each of the `samples` from `entry`; None means any number of samples.

    Raises:
        DataError: the shape, the type or a number is invalid.
    """
    if len(entry.shape) != 1 or entry.dtype.kind not in "iu" or entry.shape != (samples or entry.shape[0],):
        raise DataError(
            f"{entry.name} has shape {entry.shape} and type {entry.dtype}, expected integers of shape "
            f"({samples or 'n'},), one for each sample"
        )
    return as_groups(entry.name, entry.read())


def as_groups(name: str, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
    """Returns the `numbers` (n,) as int32.

    Raises:
        DataError: a number is outside of the range of int32.
    """
    limits = np.iinfo(np.int32)
    if len(numbers) and not limits.min <= int(numbers.min()) <= int(numbers.max()) <= limits.max:
        raise DataError(f"{name} has numbers from {numbers.min()} to {numbers.max()}, expected numbers of 32 bits")
    return numbers.astype("<i4")
