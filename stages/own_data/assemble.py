"""Puts the pieces of all files together to the four arrays of a data set; splits off a test part if there is none."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError
from stages.data.datasets import Arrays
from stages.data.sample_weights import WEIGHTS
from stages.own_data.csv_labels import check_choices
from stages.own_data.extras import GROUPS, groups_by_name, groups_of, joined, weights_of
from stages.own_data.images import Range, check_ranges, laid_out, range_of, typed
from stages.own_data.labels import Classes, classes_of, flat_labels
from stages.own_data.options import Options
from stages.own_data.pairs import paired
from stages.own_data.pieces import TEST, TRAIN, VALIDATION, Piece, together
from stages.prepare.held_out_groups import held_out_groups
from stages.samples.sampling import held_out_mask


class Found(NamedTuple):
    """A data set that was read.

    Attributes:
        arrays: the four arrays, and the weights of the training samples, if the files have them.
        classes: number of classes.
        class_names: their names; None means the labels.
        pixels: value of black and of white; None means 0 and 255.
        changes: sentences about what is not as in the files; an npz file without any can be used as it is.
        notes: further sentences.
        groups: groups of the samples of a part, integers or texts, as g_train and g_test, if the files have them.
    """

    arrays: Arrays
    classes: int
    class_names: list[str] | None
    pixels: tuple[float, float] | None
    changes: list[str]
    notes: list[str]
    groups: dict[str, NDArray[Any]]


class Part(NamedTuple):
    """Samples of one part: images, labels, weights and groups, and the range of the pixels of each source."""

    images: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None
    groups: NDArray[Any] | None
    ranges: list[Range]


def assemble(pieces: Sequence[Piece], options: Options) -> Found:
    """Returns the data set of all `pieces`.

    Raises:
        DataError: images or labels are missing, do not belong together, or are not certain.
    """
    check_choices(pieces)
    changes: list[str] = []
    notes = [note for piece in pieces for note in piece.notes]
    parts = _by_part(pieces, changes)
    read = {part: _read_part(part, some, options, changes, notes) for part, some in parts.items()}
    _check_sizes(read)
    if options.pixels is None:
        check_ranges([each for part in read.values() for each in part.ranges])
    train, test = read[TRAIN], read.get(TEST)
    file_names = _file_names(pieces)
    numbered = classes_of(
        train.labels, test.labels if test else None, file_names, options.class_names, changes
    )  # fmt: skip
    images, pixels = typed([part.images for part in read.values()], options.pixels, changes)
    if test is None or numbered.test is None:
        arrays, divided = _split(train._replace(images=images[0]), numbered, options, changes)
        groups = groups_by_name(*divided, notes)
    else:
        by_part = dict(zip(read, images, strict=True))
        arrays = Arrays(by_part[TRAIN], numbered.train, by_part[TEST], numbered.test, train.weights)
        groups = groups_by_name(train.groups, test.groups, notes)
    if kept := [*([WEIGHTS] if train.weights is not None else []), *groups]:
        notes.append(f"kept beside images and labels: {', '.join(kept)}")
    return Found(arrays, numbered.number, numbered.names, pixels, _once(changes), _once(notes), groups)


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


def _read_part(part: str, pieces: Sequence[Piece], options: Options, changes: list[str], notes: list[str]) -> Part:
    images, labels, ranges = list[NDArray[Any]](), list[NDArray[Any]](), list[Range]()
    weights, groups = list[NDArray[np.float32] | None](), list[NDArray[Any] | None]()
    for piece in paired(pieces):
        assert piece.images is not None and piece.labels is not None
        flat = flat_labels(piece.labels, piece.source, changes)
        if not len(flat):
            raise DataError(f"{piece.source}: has no images, expected at least 1")
        labels.append(flat)
        images.append(laid_out(piece.images, len(flat), piece.source, options, changes))
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise DataError(_size_message(pieces[0].source, images[0], piece.source, images[-1]))
        ranges.append(range_of(f"{piece.source} ({part})", images[-1]))
        weights.append(weights_of(piece, len(flat)))
        groups.append(groups_of(piece, len(flat), notes))
    in_all = joined(WEIGHTS, weights, notes), joined(GROUPS[part], groups, notes)
    return Part(together(images), together(labels), *in_all, ranges)


def _check_sizes(read: dict[str, Part]) -> None:
    train, *others = (part.images for part in read.values())
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


def _split(
    part: Part, labels: Classes, options: Options, changes: list[str]
) -> tuple[Arrays, tuple[NDArray[Any] | None, NDArray[Any] | None]]:
    """Returns the arrays with a test part that is chosen from the only one, and the groups of both parts."""
    test = _test_part(part.groups, labels, options, changes)
    weights, groups = part.weights, part.groups
    arrays = Arrays(part.images[~test], labels.train[~test], part.images[test], labels.train[test])
    if weights is not None:
        arrays = arrays._replace(w_train=weights[~test])
    return arrays, (None, None) if groups is None else (groups[~test], groups[test])


def _test_part(groups: NDArray[Any] | None, labels: Classes, options: Options, changes: list[str]) -> NDArray[np.bool_]:
    """Chooses the test part, bool (n,): each class with its share and, where groups are known, whole groups.

    Raises:
        DataError: there are too few images or groups, or a class is not left for training.
    """
    count = len(labels.train)
    test_count = round(count * options.test_share)
    if not 1 <= test_count <= count - labels.number:
        raise DataError(
            f"there are {count:,} images, of which {test_count:,} would be the test part (--test-share "
            f"{options.test_share:g}), expected at least 1 and one of each class left for training; add images"
        )
    chosen_by = f"--test-share {options.test_share:g} --seed {options.seed}"
    if groups is None:
        test = held_out_mask(labels.train, test_count, options.seed)
        changes.append(
            f"there is no test part, so {test_count:,} of {count:,} images are chosen for it, each class with its "
            f"share ({chosen_by})"
        )
    else:
        test = _groups_for_test(groups, labels, options)
        training, others = (len(np.unique(groups[part])) for part in (~test, test))
        changes.append(
            f"there is no test part, so {int(test.sum()):,} of {count:,} images are chosen for it, all those of whole "
            f"groups: {training:,} for training, {others:,} for the test, no group in both ({chosen_by})"
        )
    left = np.bincount(labels.train[~test], minlength=labels.number)
    if (left == 0).any():
        number = int(left.argmin())
        name = labels.names[number] if labels.names is not None else str(number)
        if groups is None or number not in labels.train:
            raise DataError(f"the class {name} has too few images to be in both parts; add some, or remove the class")
        raise DataError(
            f"the groups that {chosen_by} chooses for the test part have all images of the class {name}; choose "
            "another share or seed, or name the files of a test part after --test"
        )
    return test


def _groups_for_test(groups: NDArray[Any], labels: Classes, options: Options) -> NDArray[np.bool_]:
    numbers = np.unique(groups, return_inverse=True)[1]
    if not numbers.any():
        raise DataError(
            "all images are of one group (g_train), which cannot be in both parts; name the files of a test part of "
            "other groups after --test, or leave out g_train"
        )
    return held_out_groups(labels.train, numbers, options.test_share, options.seed)


def _once(sentences: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(sentences))
