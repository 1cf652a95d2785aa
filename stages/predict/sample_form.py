"""The form of samples that are no images, which an exported model takes."""

from typing import Any, NamedTuple

from stages.base.sample_kinds import KINDS, Kind
from stages.model.tasks import KIND, VOCABULARY


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


def sample_form(session: Any, metadata: dict[str, Any]) -> SampleForm | None:
    """Returns the form of the samples that the model's metadata name; None for images, of which they say nothing."""
    kind, vocabulary = metadata.get(KIND), metadata.get(VOCABULARY)
    if not isinstance(kind, str) or kind not in KINDS or kind == "image":
        return None
    if (kind == "tokens") != (type(vocabulary) is int and vocabulary > 0):
        return None
    return SampleForm(kind, tuple(session.get_inputs()[0].shape[1:]), vocabulary)
