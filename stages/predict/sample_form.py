"""The form of the samples that an exported model takes: of those that are no images, and of pictures."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import ModelError
from stages.base.sample_kinds import KINDS, Kind
from stages.model.metadata import read_metadata
from stages.model.tasks import KIND, PICTURE_FORM, VOCABULARY
from stages.samples.picture_form import PictureForm

LARGEST = 1e30  # value of a feature, as in the stage `download`
MAX_METADATA = 1000  # characters of the form of pictures


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

    def takes(self, samples: NDArray[Any]) -> NDArray[np.bool_]:
        """Returns for each of `samples` (n, *shape) whether the model takes all of its values."""
        rows = np.asarray(samples.reshape(len(samples), -1))
        if not self.vocabulary:
            right = np.asarray(np.abs(rows.astype(np.float64)) <= LARGEST)  # NaN is not
        else:
            with np.errstate(invalid="ignore"):  # of the remainder of infinity
                right = np.asarray((rows >= 0) & (rows < self.vocabulary) & (rows % 1 == 0))
        return np.asarray(right.all(axis=1))


def sample_form(session: Any, metadata: dict[str, Any]) -> SampleForm | None:
    """Returns the form of the samples that the model's metadata name; None for images, of which they say nothing."""
    kind, vocabulary = metadata.get(KIND), metadata.get(VOCABULARY)
    if not isinstance(kind, str) or kind not in KINDS or kind == "image":
        return None
    if (kind == "tokens") != (type(vocabulary) is int and vocabulary > 0):
        return None
    return SampleForm(kind, tuple(session.get_inputs()[0].shape[1:]), vocabulary)


def picture_form(path: Path, session: Any) -> PictureForm | None:
    """Returns the form of grey pictures in the metadata of the model of `path`; None for that of MNIST.

    Raises:
        ModelError: The metadata has a form that this version does not know.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        return read_metadata(metadata, PICTURE_FORM, MAX_METADATA, "texts", PictureForm.model_validate)
    except ValueError as error:
        raise ModelError(
            f"{path}: has a form of pictures that this version does not know, expected the conversion stretch and the "
            "background dark or light; train the model again, or use the version that trained it"
        ) from error
