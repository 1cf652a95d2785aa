"""The program behind `inkflow data add`: reads the files, shows what it found, writes the npz file and the entry."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from stages.base.errors import EXIT_DONE, DataError, InvalidInput, unread_output
from stages.base.files import replacing, write_json
from stages.base.shown_text import shown_text
from stages.data.config import GROUP_ARRAYS, Dataset
from stages.data.data_warnings import ImageScan, label_warnings
from stages.data.datasets import check_shape_and_range, describe, digest, read_arrays, write_npz
from stages.data.groups import read_own_groups
from stages.data.memory import limited_memory
from stages.own_data.assemble import Found, assemble
from stages.own_data.contact_sheet import class_labels, summary_line, terminal_sheet, write_sheet
from stages.own_data.files import File, form_of, list_files
from stages.own_data.idx import read_idx
from stages.own_data.npz_arrays import read_npy, read_npz
from stages.own_data.options import Options
from stages.own_data.pictures import read_folder
from stages.own_data.pieces import TEST, TRAIN, Piece
from stages.samples.pixels import Pixels

MEMORY_FACTOR = 12  # images as float64 at most, and copies
MAX_LISTED = 30  # classes
HEADERS = 500  # bytes of an npz file for each array, beside its content
ENTRY_REMEDIES = {
    "class_names": "rename the classes, or name them by --class-names",
    "pixels": "convert the pixels, or give another range by --pixels",
}
FORM_NAMES = {
    "npz": "npz", "npy": "npy", "idx": "IDX", "csv": "CSV", "mat": "MATLAB", "parquet": "Parquet",
    "folder": "a folder of pictures",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the options, adds the data, and returns the exit code.

    The options are one JSON object, or @ with the path of a file that holds them.
    """
    options = _options(sys.argv[1:] if argv is None else argv)
    remedy = "add fewer samples, or use a machine with more memory"
    with limited_memory(MEMORY_FACTOR * options.max_bytes, "the data", remedy), ExitStack() as stack:
        files = _files(options, stack)
        found = _read(files, options)
        unchanged = _unchanged(files, found, options)
        entry = _entry(options.name, unchanged or found, options)
        if not unchanged:
            _check_size(found, options.max_bytes)
        if options.sheet:
            write_sheet(options.sheet, options.name, found)
        if options.out and not unchanged:
            with replacing(options.out) as temporary:
                write_npz(temporary, found.arrays.by_name() | found.groups)
        if options.result:
            write_json(options.result, {"entry": entry, "unchanged": unchanged is not None})
        with unread_output():  # a reader such as `head` may have enough of it; the data are written
            _show(options, files, found)
    return EXIT_DONE


def _options(words: Sequence[str]) -> Options:
    if len(words) != 1:
        raise InvalidInput(
            f"got {len(words)} arguments, expected the options as one JSON object; use `inkflow data add`"
        )
    try:
        text = Path(words[0][1:]).read_text(encoding="utf-8") if words[0].startswith("@") else words[0]
        return Options.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(key) for key in first["loc"] if isinstance(key, str)).replace("_", "-")
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"--{name}: {message}, got {first['input']}" if name else message) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the options cannot be read ({error}); use `inkflow data add`") from error


def _files(options: Options, stack: ExitStack) -> list[File]:
    part = TRAIN if options.test else None
    files = [*list_files(options.paths, part, options.max_bytes, stack)]
    return [*files, *list_files(options.test, TEST, options.max_bytes, stack)]


def _read(files: Sequence[File], options: Options) -> Found:
    pieces: list[Piece] = []
    for file in files:
        try:
            found = _read_file(file, options)
        except DataError as error:
            prefix = "" if str(error).startswith((str(file.path), f"{file.name}:")) else f"{file.name}: "
            raise DataError(f"{prefix}{error}") from error
        for piece in found:
            piece.folder = str(file.path.parent)
        pieces += found
    return assemble(pieces, options)


def _read_file(file: File, options: Options) -> list[Piece]:
    path, name, part = file
    # Late imports: pandas, SciPy and PyArrow are slow, and each is needed for one form.
    match form_of(file):
        case "folder":
            return read_folder(path, part, options)
        case "npz":
            return read_npz(path, name, part, options)
        case "npy":
            return read_npy(path, name, part, options)
        case "idx":
            return read_idx(path, name, part, options.max_bytes)
        case "mat":
            from stages.own_data.matlab import read_matlab

            return read_matlab(path, name, part, options)
        case "parquet":
            from stages.own_data.parquet import read_parquet

            return read_parquet(path, name, part, options)
        case _:
            from stages.own_data.csv_table import read_csv

            return read_csv(path, name, part, options)


def _unchanged(files: Sequence[File], found: Found, options: Options) -> Found | None:
    """Returns what the pipeline reads if it takes a single npz file as it is; None if this is not what was found."""
    if not options.in_place or len(files) != 1 or found.changes or form_of(files[0]) != "npz":
        return None
    weights, floats = found.arrays.w_train is not None, found.pixels is not None
    try:
        arrays = read_arrays(files[0].path, options.max_bytes, found.classes, floats=floats, weights=weights)
        read = read_own_groups(arrays, files[0].path, options.max_bytes, ())
    except DataError:  # other names of arrays, or groups that are not used or in another form
        return None
    pairs = zip(arrays.by_name().values(), found.arrays.by_name().values(), strict=True)
    is_same = all(np.array_equal(one, other) for one, other in pairs)  # else the options named other arrays
    groups = {name: array for name, array in read.by_name().items() if name in GROUP_ARRAYS}
    is_same = is_same and groups.keys() == found.groups.keys()
    is_same = is_same and all(np.array_equal(groups[name], found.groups[name]) for name in groups)
    return found._replace(arrays=arrays, groups=groups) if is_same else None


def _entry(name: str, found: Found, options: Options) -> dict[str, Any]:
    """Returns the entry of params.yaml, without its source, title and licence.

    Raises:
        DataError: the pipeline would refuse the data.
    """
    entry: dict[str, Any] = {"shape": list(found.arrays.x_train.shape[1:]), "classes": found.classes}
    if found.class_names:
        entry["class_names"] = found.class_names
    if found.pixels:
        low, high = (int(value) if value.is_integer() else value for value in found.pixels)
        entry["pixels"] = {"low": low, "high": high}
    if options.max_bytes > Dataset.model_fields["max_bytes"].default:
        entry["max_bytes"] = options.max_bytes
    try:
        dataset = Dataset.model_validate(entry | {"title": name, "embedded": "digits"})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        key = str(first["loc"][0]) if first["loc"] else "the entry"
        raise DataError(f"{key}: {message}; {ENTRY_REMEDIES.get(key, 'convert the data first')}") from error
    check_shape_and_range(found.arrays, dataset)
    description = describe(name, dataset, found.arrays)
    digests = {key: info.sha256 for key, info in description.arrays.items()}
    return entry | {"sha256": digests | {key: digest(array) for key, array in found.groups.items()}}


def _check_size(found: Found, max_bytes: int) -> None:
    """Compares the size of the npz file with the limit: one that the stage `download` refuses is refused here."""
    arrays = found.arrays.by_name() | found.groups
    size = sum(array.nbytes + HEADERS for array in arrays.values())
    if size > max_bytes:
        raise DataError(
            f"all images and labels together take {size:,} bytes as arrays ({found.arrays.x_train.dtype}), expected at "
            f"most {max_bytes:,}; raise --max-bytes, or give a smaller --size"
        )


def _show(options: Options, files: Sequence[File], found: Found) -> None:
    """Prints what was found: numbers, shapes, classes, and images where standard output is a terminal."""
    forms = ", ".join(dict.fromkeys(FORM_NAMES[form_of(file)] for file in files))
    print(shown_text(f"{options.name}: {forms}, {summary_line(found)}"))
    names = class_labels(found)
    counts = [
        f"{names[label]} ({(found.arrays.y_train == label).sum():,} + {(found.arrays.y_test == label).sum():,})"
        for label in range(min(found.classes, MAX_LISTED))
    ]
    more = f", and {found.classes - MAX_LISTED} more" if found.classes > MAX_LISTED else ""
    print(shown_text(f"  classes (training + test): {', '.join(counts)}{more}"))
    for sentence in found.changes + found.notes:
        print(shown_text(f"  - {sentence}"))
    for sentence in _warnings(found):
        print(shown_text(f"  warning: {sentence}"))
    if options.colour == "always" or (
        options.colour == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    ):
        print()
        for line in terminal_sheet(found, shutil.get_terminal_size().columns):
            print(line)
        print()
    if options.sheet:
        print(shown_text(f"contact sheet: {options.sheet}"))
    sys.stdout.flush()


def _warnings(found: Found) -> Iterator[str]:
    """Yields the warnings that the stage `prepare` would print."""
    pixels = Pixels(low=found.pixels[0], high=found.pixels[1]) if found.pixels else Pixels()
    yield from label_warnings(found.arrays.y_train, class_labels(found))
    for part, images in (("training", found.arrays.x_train), ("test", found.arrays.x_test)):
        scan = ImageScan()
        for start in range(0, len(images), 1_000):
            scan.add(images[start : start + 1_000])
        yield from scan.warnings(part, pixels)
