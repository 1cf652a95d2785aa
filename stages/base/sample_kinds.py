"""Kinds of samples: images, vectors of features, sequences of such vectors, and sequences of tokens (integers)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["image", "vector", "sequence", "tokens"]
MAX_VALUES = 4_000_000  # of a sample that is no image: a batch has to fit into memory
MAX_VOCABULARY = 1_000_000  # float32, the input of all exported models, holds each integer below 2**24


class KindFacts(NamedTuple):
    """The name of one sample of a kind, and the names of its axes."""

    noun: str
    axes: tuple[str, ...]


KINDS: dict[Kind, KindFacts] = {
    "image": KindFacts("image", ("height", "width")),
    "vector": KindFacts("vector", ("features",)),
    "sequence": KindFacts("sequence", ("steps", "features")),
    "tokens": KindFacts("token sequence", ("steps",)),
}


def array_form(kind: Kind) -> str:
    """Returns the form of an array of such samples, such as `(n, steps, features)`."""
    return f"({', '.join(('n', *KINDS[kind].axes))})"


def shape_error(kind: Kind, shape: Sequence[int]) -> str | None:
    """Returns the sentence about a sample's `shape` that does not suit the `kind`, which is no image; else None."""
    axes = KINDS[kind].axes
    values = 1
    for side in shape:
        values *= side
    if len(shape) == len(axes) and min(shape) >= 1 and values <= MAX_VALUES:
        return None
    return f"got {list(shape)}, expected [{', '.join(axes)}] of at least 1, together at most {MAX_VALUES:,} values"
