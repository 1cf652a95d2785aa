"""The form of samples that are no images, which an exported model takes."""

from typing import NamedTuple

from stages.base.sample_kinds import KINDS, Kind


class SampleForm(NamedTuple):
    """The samples that a model takes; `vocabulary` is the number of tokens."""

    kind: Kind
    shape: tuple[int, ...]
    vocabulary: int | None = None

    def __str__(self) -> str:
        """Returns the form as in `vectors of 64 numbers`."""
        numbers = f"whole numbers from 0 to {self.vocabulary - 1:,}" if self.vocabulary else "numbers"
        size = " steps of ".join(map(str, self.shape))
        return f"{KINDS[self.kind].noun}s of {size} {numbers}"
