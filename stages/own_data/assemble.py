"""Puts the pieces of all files together to the four arrays of a data set; splits off a test part if there is none."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.datasets import Arrays
from stages.own_data.images import laid_out, typed
from stages.own_data.labels import Classes, classes_of, flat_labels
from stages.own_data.options import Options
from stages.own_data.pieces import TEST, TRAIN, VALIDATION, Piece, together
from stages.samples.sampling import held_out_mask


class Found(NamedTuple):
    """A data set that was read.

    Attributes:
        arrays: the four arrays.
        classes: number of classes.
        class_names: their names; None means the labels.
        pixels: value of black and of white; None means 0 and 255.
        changes: sentences about what is not as in the files; an npz file without any can be used as it is.
        notes: further sentences.
    """

    arrays: Arrays
    classes: int
    class_names: list[str] | None
    pixels: tuple[float, float] | None
    changes: list[str]
    notes: list[str]


def assemble(pieces: Sequence[Piece], options: Options) -> Found:
    """Returns the data set of all `pieces`.

    Raises:
        DataError: images or labels are missing, do not belong together, or are not certain.
    """
    changes: list[str] = []
    notes = [note for piece in pieces for note in piece.notes]
    parts = _by_part(pieces, changes)
    read = {part: _read_part(some, options, changes) for part, some in parts.items()}
    _check_sizes(read)
    test = read.get(TEST)
    file_names = _file_names(pieces)
    numbered = classes_of(
        read[TRAIN][1], test[1] if test else None, file_names, options.class_names, changes
    )  # fmt: skip
    images, pixels = typed([part[0] for part in read.values()], options.pixels, changes)
    if numbered.test is None:
        arrays = _split(images[0], numbered, options, changes)
    else:
        by_part = dict(zip(read, images, strict=True))
        arrays = Arrays(by_part[TRAIN], numbered.train, by_part[TEST], numbered.test)
    return Found(arrays, numbered.number, numbered.names, pixels, _once(changes), _once(notes))


def _by_part(pieces: Sequence[Piece], changes: list[str]) -> dict[str, list[Piece]]:
    """Returns the pieces of the training part and, if there is one, of the test part."""
    parts: dict[str | None, list[Piece]] = {}
    for piece in pieces:
        parts.setdefault(piece.part, []).append(piece)
    if None in parts and len(parts) > 1:
        unnamed, named = parts[None][0].source, next(some[0].source for part, some in parts.items() if part)
        raise DataError(
            f"the part of {unnamed} is not certain beside {named}; name the files of the test part after --test"
        )
    if VALIDATION in parts:
        target = TRAIN if TEST in parts or TRAIN not in parts else TEST
        parts.setdefault(target, []).extend(parts.pop(VALIDATION))
        changes.append(f"the validation part belongs to the {'training' if target == TRAIN else 'test'} part here")
    if len(parts) == 1:
        return {TRAIN: next(iter(parts.values()))}
    return {TRAIN: parts[TRAIN], TEST: parts[TEST]}


def _read_part(pieces: Sequence[Piece], options: Options, changes: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    for piece in _paired(pieces):
        assert piece.images is not None and piece.labels is not None
        flat = flat_labels(piece.labels, piece.source, changes)
        if not len(flat):
            raise DataError(f"{piece.source}: has no images, expected at least 1")
        labels.append(flat)
        images.append(laid_out(piece.images, len(flat), piece.source, options, changes))
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise DataError(_size_message(pieces[0].source, images[0], piece.source, images[-1]))
    return together(images), together(labels)


def _paired(pieces: Sequence[Piece]) -> list[Piece]:
    """Returns pieces with images and labels: files of images get the files of labels in the same order."""
    whole = [piece for piece in pieces if piece.images is not None and piece.labels is not None]
    images = [piece for piece in pieces if piece.labels is None]
    labels = [piece for piece in pieces if piece.images is None]
    if len(images) != len(labels):
        lone, what, absent = (images, "images", "labels") if len(images) > len(labels) else (labels, "labels", "images")
        raise DataError(f"{lone[-1].source}: has {what} alone, and no file has their {absent}; name that file too")
    for x, y in zip(images, labels, strict=True):
        whole.append(Piece(f"{x.source} and {y.source}", x.part, x.images, y.labels))
    return whole


def _check_sizes(read: dict[str, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    train, *others = (part[0] for part in read.values())
    for test in others:
        if test.shape[1:] != train.shape[1:]:
            raise DataError(_size_message("the training part", train, "the test part", test))


def _size_message(first: str, one: NDArray[Any], second: str, other: NDArray[Any]) -> str:
    return (
        f"images of {first} have the shape {one.shape[1:]} and those of {second} {other.shape[1:]}, expected the same; "
        "resize them, such as by --size 28, or make all grey by --grey"
    )


def _file_names(pieces: Sequence[Piece]) -> tuple[str, ...] | None:
    """Returns the names of the classes that all files have.

    Raises:
        DataError: they differ.
    """
    names = {piece.names for piece in pieces if piece.labels is not None}
    if len(names) > 1:
        raise DataError("the files name their classes differently, expected the same names in all; write them again")
    return names.pop() if names else None


def _split(images: NDArray[Any], labels: Classes, options: Options, changes: list[str]) -> Arrays:
    count = len(images)
    test_count = round(count * options.test_share)
    if not 1 <= test_count <= count - labels.number:
        raise DataError(
            f"there are {count:,} images, of which {test_count:,} would be the test part (--test-share "
            f"{options.test_share:g}), expected at least 1 and one of each class left for training; add images"
        )
    test = held_out_mask(labels.train, test_count, options.seed)
    left = np.bincount(labels.train[~test], minlength=labels.number)
    if labels.names is not None and (left == 0).any():
        name = labels.names[int(left.argmin())]
        raise DataError(f"the class {name} has too few images to be in both parts; add some, or remove the class")
    changes.append(
        f"there is no test part, so {test_count:,} of {count:,} images are chosen for it, each class with its share "
        f"(--test-share {options.test_share:g} --seed {options.seed})"
    )
    return Arrays(images[~test], labels.train[~test], images[test], labels.train[test])


def _once(sentences: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(sentences))
