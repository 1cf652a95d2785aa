"""Groups of a data set: what each sample comes from, such as its writer. Read and written as groups.npz."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.base.files import replacing
from stages.data.config import GROUP_ARRAYS
from stages.data.datasets import Arrays, error_context, write_npz
from stages.data.npz import Entry, array_names, open_npz

GROUPS_FILE = "groups.npz"
KINDS = {"i": "integers", "u": "integers", "U": "texts", "S": "texts"}  # by NumPy's letter of the type
REMEDY = "run the download stage again: inkflow run --force download"


class Groups(NamedTuple):
    """The group of each sample, int32 (n,), of the training and the test part. Equal numbers mean equal groups.

    `test` is None if the groups of the test samples are not known.
    """

    train: NDArray[np.int32]
    test: NDArray[np.int32] | None = None

    def by_name(self) -> dict[str, NDArray[np.int32]]:
        """The known groups, by the names of their arrays."""
        return {name: numbers for name, numbers in zip(GROUP_ARRAYS, self, strict=True) if numbers is not None}


def write_groups(path: Path, groups: Groups | None) -> None:
    """Writes groups.npz, without arrays if `groups` is None.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        write_npz(temporary, {} if groups is None else groups.by_name())


def read_groups(path: Path, samples: int) -> Groups:
    """Reads the groups that the download stage wrote, with one number for each of `samples` training samples.

    Raises:
        DataError: the file is missing or invalid, or has no groups.
    """
    with error_context(str(path), REMEDY):
        names = array_names(path)
        if not names:
            raise DataError("it has no groups, expected one for each sample, because `prepare.held_out` is `groups`")
        with open_npz(path, GROUP_ARRAYS[: len(names)], path.stat().st_size) as entries:
            counts = (samples, None)[: len(names)]  # the number of test samples is not known here
            return Groups(*map(read_group_entry, entries.values(), counts))


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


def read_own_groups(arrays: Arrays, path: Path, max_bytes: int, required: Collection[str]) -> Arrays:
    """Returns `arrays` with the groups in their own file `path`: `g_train` and `g_test`, where it has them.

    Args:
        arrays: images and labels in the file.
        path: the npz file.
        max_bytes: largest size of the groups.
        required: names of groups that the file must have.

    Raises:
        DataError: an array is missing or invalid; the message does not name the file.
    """
    found = {*required, *array_names(path)}
    names = [name for name in GROUP_ARRAYS if name in found]
    labels = {"g_train": arrays.y_train, "g_test": arrays.y_test}
    with open_npz(path, names, max_bytes) as entries:
        for name, entry in entries.items():
            expected = (len(labels[name]),)
            if entry.shape != expected or entry.dtype.kind not in KINDS:
                raise DataError(
                    f"{name} has shape {entry.shape} and type {entry.dtype}, expected integers or texts of shape "
                    f"{expected}, one for each sample"
                )
        read = {name: entry.read() for name, entry in entries.items()}
    return arrays._replace(**{name: each.astype(each.dtype.newbyteorder("<")) for name, each in read.items()})


def own_groups(name: str, arrays: Arrays) -> Groups | None:
    """Returns the groups in the `arrays` of the data set `name`; texts become numbers in their order.

    Raises:
        DataError: one part has integers and the other texts, or a number is outside of the range of int32.
    """
    if arrays.g_train is None:
        return None
    parts: Sequence[NDArray[Any]] = [part for part in (arrays.g_train, arrays.g_test) if part is not None]
    with error_context(f"the groups of {name}", "correct them in its file"):
        if len({part.dtype.kind if KINDS[part.dtype.kind] == "texts" else "" for part in parts}) > 1:
            types = " and ".join(str(part.dtype) for part in parts)
            raise DataError(f"g_train and g_test have the types {types}, expected integers in both or texts in both")
        if KINDS[parts[0].dtype.kind] == "integers":
            return Groups(*map(as_groups, GROUP_ARRAYS, parts))
    numbers = np.unique(np.concatenate(parts), return_inverse=True)[1].astype("<i4")
    return Groups(*np.split(numbers, [len(parts[0])])[: len(parts)])


def as_groups(name: str, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
    """Returns the `numbers` (n,) as int32.

    Raises:
        DataError: a number is outside of the range of int32.
    """
    limits = np.iinfo(np.int32)
    if len(numbers) and not limits.min <= int(numbers.min()) <= int(numbers.max()) <= limits.max:
        raise DataError(f"{name} has numbers from {numbers.min()} to {numbers.max()}, expected numbers of 32 bits")
    return numbers.astype("<i4")
