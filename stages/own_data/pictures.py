"""A folder of pictures with one folder a class, also below `train` and `test`."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.config import SIDES
from stages.own_data.files import is_hidden
from stages.own_data.options import Options
from stages.own_data.pieces import PART_WORDS, Piece
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import LeftOut, escape_unprintable, expand_paths, read_images
from stages.predict.picture_depth import as_grey, stretched

MAX_PICTURES = 1_000_000
MAX_FOLDERS = 1_000
DEPTHS = {"uint8": "8 bits", "uint16": "16 bits", "int32": "32 bits", "float32": "a float of 32 bits"}


class Stack:
    """Collects pictures of one size and depth: grey ones as (n, h, w), until one has colour; bounded in bytes."""

    def __init__(self, options: Options) -> None:
        self._images: list[NDArray[Any]] = []
        self._size = tuple(options.size * 2 if len(options.size) == 1 else options.size) if options.size else None
        self._grey, self._left, self._limit = options.grey, options.max_bytes, options.max_bytes
        self._first: tuple[str, NDArray[Any]] | None = None

    def add(self, name: str, image: NDArray[Any]) -> None:
        """Adds the picture (h, w) or (h, w, 3) of the file `name`; one in colour has 8 bits.

        Raises:
            DataError: it has another depth than the first one, or another size, and no size was asked for; or the limit
                is exceeded.
        """
        if image.ndim == 3 and (self._grey or _is_grey(image)):
            image = as_grey(image)
        if self._size:
            image = stretched(image, self._size)
        self._first = self._first or (name, image)
        first_name, first = self._first
        if image.dtype != first.dtype:
            raise DataError(
                f"pictures have different depths: {first_name} has {DEPTHS[first.dtype.name]} and {name} "
                f"{DEPTHS[image.dtype.name]} a pixel; convert all to one depth"
            )
        if image.shape[:2] != first.shape[:2]:
            raise DataError(
                f"pictures have different sizes: {first_name} has {_size_text(first.shape)} and {name} "
                f"{_size_text(image.shape)} pixels; give one for all, such as --size 28 or --size 32 48"
            )
        if not all(SIDES[0] <= side <= SIDES[1] for side in image.shape[:2]):
            low, high = SIDES
            raise DataError(
                f"{name} has {_size_text(image.shape)} pixels, expected {low} to {high} a side; give --size 28"
            )
        self._left -= image.nbytes
        if self._left < 0:
            raise DataError(f"the pictures take more than {self._limit:,} bytes; raise --max-bytes or give a --size")
        self._images.append(image)

    def images(self) -> NDArray[Any]:
        """Returns the pictures, (n, h, w) if all are grey, else (n, h, w, 3)."""
        if any(image.ndim == 3 for image in self._images):
            return np.stack([np.dstack([one] * 3) if one.ndim == 2 else one for one in self._images])
        return np.stack(self._images)


def read_folder(folder: Path, part: str | None, options: Options) -> list[Piece]:
    """Returns a piece for each part of a folder of pictures.

    Raises:
        DataError: there is no folder a class, a class has no picture, or a picture cannot be used.
    """
    parts = {child: PART_WORDS.get(child.name.lower()) for child in folders_in(folder)}
    foreign = [child.name for child, each in parts.items() if each is None]
    named = [child for child, each in parts.items() if each is not None]
    if named and not foreign:
        return [_read_part(child, each, options) for child, each in parts.items()]
    if holding := [child.name for child in named if folders_in(child)]:
        raise DataError(
            f"{folder}: holds the part {holding[0]} with folders of classes, and beside it {foreign[0]}, expected "
            f"train, test and validation alone; move {foreign[0]} elsewhere, or, if {holding[0]} is a class, put its "
            "pictures directly into it"
        )
    piece = _read_part(folder, part, options)
    piece.notes += [
        f"{child.name} is read as a class, since it lies beside {foreign[0]}; if it is a part of the data, put the "
        "folders of the classes into train and test"
        for child in named
    ]
    return [piece]


def folders_in(folder: Path) -> list[Path]:
    """Returns the folders in `folder`, in the order of numbers if their names are numbers, without hidden ones."""
    found = [child for child in folder.iterdir() if child.is_dir() and not is_hidden(child)]
    if links := [child for child in found if child.is_symlink()]:
        raise DataError(
            f"{links[0]}: is a link to a folder, which is not followed; copy the folder, or remove the link"
        )
    if len(found) > MAX_FOLDERS:
        raise DataError(f"{folder}: holds {len(found):,} folders, expected one for each class, at most {MAX_FOLDERS:,}")
    return sorted(found, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Returns a key that sorts `class2` before `class10`, and numbers before texts."""
    parts = re.split(r"([0-9]{1,18})", name)  # str.isdigit takes other digits too, such as ², which int refuses
    return [(0, int(text), "") if text[0] in "0123456789" else (1, 0, text) for text in parts if text]


def _read_part(folder: Path, part: str | None, options: Options) -> Piece:
    stack, labels, left_out = Stack(options), list[str](), list[str]()
    classes = folders_in(folder)
    if not classes:
        raise DataError(f"{folder}: holds no folder, expected one for each class with its pictures in it")
    _check_names(classes)
    for child in classes:
        count = len(labels)
        for name, image in _pictures_below(child, left_out):
            stack.add(os.path.relpath(name, folder), image)
            labels.append(escape_unprintable(child.name))
            if len(labels) > MAX_PICTURES:
                raise DataError(f"{folder}: holds more than {MAX_PICTURES:,} pictures; convert it to an npz file")
        if len(labels) == count:
            raise DataError(f"{child}: holds no picture, expected those of the class {child.name}; fill or remove it")
    more = f", nor are {len(left_out) - 1:,} other files" if len(left_out) > 1 else ""
    notes = [f"{left_out[0]} is no picture{more}: left out"] if left_out else []
    return Piece(folder.name, part, stack.images(), np.array(labels), notes=notes)


def _check_names(folders: Sequence[Path]) -> None:
    """Raises DataError if two folders would be one class, since their names differ in blanks at their ends alone."""
    found: dict[str, str] = {}
    for name in (folder.name for folder in folders):
        other = found.setdefault(escape_unprintable(name).strip(), name)
        if other != name:
            raise DataError(
                f"{folders[0].parent}: holds the folders {other!r} and {name!r}, expected names that differ in more "
                "than blanks; rename one, or put all pictures into the other"
            )


def _pictures_below(folder: Path, left_out: list[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yields names and pixels of the pictures below `folder`; other files are added to `left_out`.

    Raises:
        DataError: a picture is damaged, or a file holds arrays.
    """
    for item in expand_paths([str(folder)]):
        name = item if isinstance(item, str) else item.name
        if any(is_hidden(Path(part)) for part in Path(name).relative_to(folder).parts):
            continue
        if isinstance(item, RejectedInput):
            if name == str(folder):  # without pictures, of which the caller tells
                return
            raise DataError(f"{name}: {item.reason}")
        if isinstance(item, LeftOut):
            left_out.append(escape_unprintable(name))
            continue
        for found in read_images(item, deep=True):
            if isinstance(found, RejectedInput):
                raise DataError(f"{found.name}: {found.reason}; remove it or replace it")
            if found.from_array:
                raise DataError(f"{item}: holds arrays, expected a picture; name the file alone to add its arrays")
            yield item, found.pixels[0]


def _is_grey(image: NDArray[np.uint8]) -> bool:
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())


def _size_text(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
