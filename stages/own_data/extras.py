"""Arrays beside images and labels that have one number for each sample: the weights and the groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.groups import KINDS, as_groups
from stages.data.sample_weights import WEIGHTS, check_weights
from stages.own_data.pieces import TEST, TRAIN, Piece, together

GROUPS = {TRAIN: "g_train", TEST: "g_test"}
EXTRAS = (WEIGHTS, *GROUPS.values())
MAX_NAMED = 8
DIFFERENT_KINDS = "some of its groups are integers and others texts, or texts of another type"
OBJECTS_REMEDY = "save it again, texts as np.array(..., dtype=str)"


def attach(piece: Piece, arrays: Mapping[str, NDArray[Any]], origin: str | None) -> list[str]:
    """Gives `piece` the weights and groups of its samples, and returns their names.

    Args:
        piece: of a file of named arrays.
        arrays: those of the file.
        origin: the part whose name the file gives to the images of the piece; None means that it names none.
    """
    part, used = origin or TRAIN, list[str]()
    if part == TRAIN and piece.part != TEST and WEIGHTS in arrays:
        piece.weights = arrays[WEIGHTS]
        used.append(WEIGHTS)
    if (name := GROUPS.get(part, "")) in arrays:
        piece.groups = arrays[name]
        used.append(name)
    return used


def unused_note(file: str, names: Sequence[str]) -> list[str]:
    """Returns the sentence about the arrays `names` of a file that are not used, if there are any."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return [f"{file}: not used: {', '.join(names[:MAX_NAMED])}{more}"] if names else []


def weights_of(piece: Piece, count: int) -> NDArray[np.float32] | None:
    """Returns the weights of the `count` samples of `piece`; None if it has none.

    Raises:
        DataError: they are not one number from 0 on for each sample.
    """
    if piece.weights is None:
        return None
    weights = _flat(piece.weights)
    if weights.shape != (count,) or weights.dtype.kind not in "iuf":
        raise DataError(
            f"{piece.source}: {WEIGHTS} has the shape {piece.weights.shape} and the type {weights.dtype}, expected one "
            f"number for each of the {count:,} training images; correct or remove this array"
        )
    return check_weights(f"{piece.source}: {WEIGHTS}", weights)


def groups_of(piece: Piece, count: int, notes: list[str]) -> NDArray[Any] | None:
    """Returns the groups of the `count` samples of `piece` as int32 or as texts.

    They are None if it has none, or, with a note, others.
    """
    if piece.groups is None:
        return None
    groups = _flat(piece.groups)
    if groups.shape == (count,) and groups.dtype.kind in KINDS:
        try:
            if not _are_texts(groups):
                return as_groups("", groups)
            groups.tolist()  # NumPy does not check the characters of an array that it reads
            return groups.astype(groups.dtype.newbyteorder("<"))
        except (DataError, SystemError, ValueError):  # numbers of more than 32 bits, characters that are none
            pass
    notes.append(
        f"{piece.source}: its groups are not used: they have the shape {piece.groups.shape} and the type "
        f"{groups.dtype}, expected an integer of 32 bits or a text for each of the {count:,} images"
    )
    return None


def groups_by_name(train: NDArray[Any] | None, test: NDArray[Any] | None, notes: list[str]) -> dict[str, NDArray[Any]]:
    """Returns the known groups by the names of their arrays; none, with a note, if they are of different kinds."""
    known = {GROUPS[part]: groups for part, groups in ((TRAIN, train), (TEST, test)) if groups is not None}
    if _are_alike([*known.values()]):
        return known
    notes.append(f"{' and '.join(known)}: not used, since {DIFFERENT_KINDS}")
    return {}


def joined(name: str, found: Sequence[NDArray[Any] | None], notes: list[str]) -> NDArray[Any] | None:
    """Returns the numbers of several pieces as one array; None if a piece has none, which is noted if another has."""
    present = [each for each in found if each is not None]
    if len(present) == len(found):
        if name == WEIGHTS or _are_alike(present):
            return together(present)
        notes.append(f"{name}: not used, since {DIFFERENT_KINDS}")
        return None
    if present:
        notes.append(f"{name}: not used, since only some of the files or arrays of its part have it")
    return None


def _are_texts(groups: NDArray[Any]) -> bool:
    return KINDS[groups.dtype.kind] == "texts"


def _are_alike(groups: Sequence[NDArray[Any]]) -> bool:
    """Returns whether all are integers, or all texts of one type, as the stage `download` expects."""
    return len({each.dtype.kind if _are_texts(each) else "" for each in groups}) <= 1


def _flat(numbers: NDArray[Any]) -> NDArray[Any]:
    return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers
