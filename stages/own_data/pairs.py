"""Pairs files of images with the files of their labels."""

import re
from collections.abc import Sequence

from stages.base.errors import DataError
from stages.own_data.pieces import IMAGE_WORDS, LABEL_WORDS, PART_WORDS, Piece, part_of, split_name

ENDS = re.compile(r"(\.(npy|npz|idx|mat|gz))+$|[.-]idx\d(-\w+)?(\.gz)?$", re.IGNORECASE)  # idx3-ubyte of the IDX form
TOKEN = re.compile(r"t10k|[^\W\d_]+|\d+")
KIND_WORDS = IMAGE_WORDS | LABEL_WORDS | PART_WORDS.keys()
Key = tuple[str | None, ...]
REMEDY = "name each pair alike, such as a_images.npy and a_labels.npy, or add one file that has both"


def paired(pieces: Sequence[Piece]) -> list[Piece]:
    """Returns pieces with images and labels: each file of images of a part gets the file of labels of the same name.

    Of a name the words of images and labels do not count. A single file of images and a single one of labels
    belong together under any names.

    Raises:
        DataError: a file has no partner, or several could be its partner.
    """
    whole = [piece for piece in pieces if piece.images is not None and piece.labels is not None]
    for part in dict.fromkeys(piece.part for piece in pieces):
        images = [piece for piece in pieces if piece.part == part and piece.labels is None]
        labels = [piece for piece in pieces if piece.part == part and piece.images is None]
        if len(images) != len(labels):
            lone, what, absent = (
                (images, "images", "labels") if len(images) > len(labels) else (labels, "labels", "images")
            )
            raise DataError(f"{lone[-1].source}: has {what} alone, and no file has their {absent}; name that file too")
        if len(images) > 1:
            labels = _partners(images, labels)
        whole += map(_both, images, labels)
    return whole


def _partners(images: Sequence[Piece], labels: Sequence[Piece]) -> list[Piece]:
    """Returns the files of labels in the order of those of images."""
    keys: dict[int, Key] = {id(piece): _key(piece.source) for piece in (*images, *labels)}
    if any(len({keys[id(piece)] for piece in files}) < len(files) for files in (images, labels)):
        keys = {id(piece): (piece.folder, *keys[id(piece)]) for piece in (*images, *labels)}  # equal names in folders
    by_key: list[dict[Key, Piece]] = [{}, {}]
    for found, files in zip(by_key, (images, labels), strict=True):
        for piece in files:
            other = found.setdefault(keys[id(piece)], piece)
            if other is not piece:
                raise DataError(
                    f"{other.source} and {piece.source} have the same name without the words of "
                    f"images and labels, so it is not certain which labels belong to which images; {REMEDY}"
                )
    first, second = by_key
    for key, piece in first.items():
        if key not in second:
            others = ", ".join(each.source for each in labels)
            raise DataError(
                f"{piece.source}: none of {others} has the same name, so its labels are not certain; {REMEDY}"
            )
    return [second[key] for key in first]


def _key(name: str) -> Key:
    """Returns the part that a file's name says, and its words and numbers that do not say what the file holds."""
    tokens = TOKEN.findall(split_name(ENDS.sub("", name)))
    return part_of(name), *(token for token in tokens if token not in KIND_WORDS)


def _both(x: Piece, y: Piece) -> Piece:
    both = Piece(f"{x.source} and {y.source}", x.part, x.images, y.labels)
    both.weights, both.groups = (
        one if one is not None else other for one, other in ((x.weights, y.weights), (x.groups, y.groups))
    )
    return both
