"""npz and npy files, with any names of arrays."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import GROUP_ARRAYS
from stages.data.datasets import error_context
from stages.data.npz import array_names, open_npy, open_npz
from stages.own_data.extras import EXTRAS, OBJECTS_REMEDY, attach, unused_note
from stages.own_data.options import Options
from stages.own_data.pieces import KEYS_REMEDY, TEST, TRAIN, Piece, from_arrays, kind_of, kind_of_shape, part_of

MAX_ARRAYS = 100
DAMAGE_REMEDY = "download it again, or write it again with np.savez"


def read_npz(path: Path, name: str, part: str | None, options: Options) -> list[Piece]:
    """Returns the pieces of an npz file.

    Raises:
        DataError: the file is damaged, too large, or has no arrays of these names; the message does not name it.
    """
    with error_context(name, DAMAGE_REMEDY):
        found = array_names(path)
    if not 0 < len(found) <= MAX_ARRAYS:
        raise DataError(
            f"is a zip file with {len(found)} arrays, expected an npz file; unpack an archive and name its folder"
        )
    if chosen := chosen_keys(options):
        wanted = [key for keys in chosen.values() for key in keys.values()]
        check_keys(wanted, found)
    else:
        others = [key for key in found if key not in EXTRAS]
        wanted = [key for key in others if kind_of(key)] if len(others) > 2 else others
        if not wanted:
            raise DataError(f"has the arrays {', '.join(found[:8])}, none of which is named as images; {KEYS_REMEDY}")
    extras = [key for key in EXTRAS if key in found and key not in wanted]
    groups = [key for key in extras if key in GROUP_ARRAYS]
    names = [*dict.fromkeys(wanted), *(key for key in extras if key not in groups)]
    with open_npz(path, names, options.max_bytes) as entries, error_context(name, DAMAGE_REMEDY):
        arrays = {key: entry.read() for key, entry in entries.items()}
    notes = _add_groups(path, name, groups, arrays, options.max_bytes)
    pieces, used = named_pieces(name, arrays, wanted, chosen, part)
    unread = [key for key in groups if key not in arrays]
    pieces[0].notes += [*notes, *unused_note(name, [key for key in found if key not in (*used, *unread)])]
    return pieces


def _add_groups(path: Path, name: str, keys: list[str], arrays: dict[str, NDArray[Any]], max_bytes: int) -> list[str]:
    """Adds the groups `keys` to `arrays`; returns sentences about those that cannot be read, which are not used."""
    notes = []
    for key in keys:
        left = max_bytes - sum(array.nbytes for array in arrays.values())
        try:
            with open_npz(path, [key], left) as entries:
                arrays[key] = entries[key].read()
        except DataError as error:
            reason = str(error).split(";")[0]  # the remedy there is that of sequences
            notes.append(f"{name}: {key} is not used ({reason}); {OBJECTS_REMEDY}")
    return notes


def read_npy(path: Path, name: str, part: str | None, options: Options) -> list[Piece]:
    """Returns the piece of an npy file: labels if its name or its shape says so, else images.

    Raises:
        DataError: the file is damaged or too large; the message does not name it.
    """
    array = open_npy(path, "its array", options.max_bytes).read()
    is_images = (kind_of(name) or kind_of_shape(array.shape)) == "x"
    return [Piece(name, part, array if is_images else None, None if is_images else array)]


def chosen_keys(options: Options) -> dict[str | None, dict[str, str]]:
    """Returns the names of arrays that the options give: {part: {"x": key, "y": key}}.

    The part is None if there is no test part: then a share of the training part is split off.

    Raises:
        DataError: images are named without labels, or labels without images.
    """
    keys = {part: {kind: key for kind in "xy" if (key := getattr(options, f"{kind}_{part}"))} for part in (TRAIN, TEST)}
    for part, pair in keys.items():
        if len(pair) == 1:
            absent = "y" if "x" in pair else "x"
            raise DataError(f"--{'x' if absent == 'y' else 'y'}-{part} is given, so --{absent}-{part} is needed too")
    if keys[TEST] and not keys[TRAIN]:
        raise DataError("--x-test and --y-test are given, so --x-train and --y-train are needed too")
    return {part if keys[TEST] else None: pair for part, pair in keys.items() if pair}


def check_keys(wanted: list[str], found: list[str]) -> None:
    """Raises DataError if one of the names `wanted` is not in the file."""
    if missing := [key for key in wanted if key not in found]:
        raise DataError(f"has no array {missing[0]}, but {', '.join(found[:8])}; {KEYS_REMEDY}")


def named_pieces(
    name: str, arrays: dict[str, NDArray[Any]], known: list[str], chosen: dict[str | None, dict[str, str]],
    part: str | None,
) -> tuple[list[Piece], list[str]]:  # fmt: skip
    """Returns the pieces of a file of named arrays, with their weights and groups, and the names that are used.

    Args:
        name: of the file.
        arrays: those of the file.
        known: names of the arrays of images and labels.
        chosen: the names that the user gave, as `chosen_keys` returns them; an empty one means all that are known.
        part: of the file's name, or that the user gave.

    Raises:
        DataError: two arrays are the same thing.
    """
    if chosen:
        pieces = [Piece(name, own or part, arrays[keys["x"]], arrays[keys["y"]]) for own, keys in chosen.items()]
        origins = [part_of(keys["x"]) or own or part for own, keys in chosen.items()]
    else:
        pieces = from_arrays(name, {key: arrays[key] for key in known}, part)
        origins = [piece.part for piece in pieces]
    extras = {key: array for key, array in arrays.items() if key in EXTRAS and key not in known}
    attached = [attach(piece, extras, origin) for piece, origin in zip(pieces, origins, strict=True)]
    return pieces, [*known, *(key for keys in attached for key in keys)]
