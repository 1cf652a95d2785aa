"""Doubt: what a model says of its own answers, and the thresholds under which its answer is "unsure".

A model carries the thresholds for every share of digits that a user may want kept, so that another share needs no
training: `predict.keep` in params.yaml is read when images are classified.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from stages.base.config import Section
from stages.model.metadata import read_metadata

METADATA = "inkflow.doubt"  # metadata key of an exported model
UNLIKENESS = "unlikeness"  # name of its second output (batch, 1); the first one has the probabilities
DEFAULT_KEEP = 0.99
LEVELS = tuple(  # shares kept that have thresholds of their own; dense near 1, where they are chosen
    sorted({*(step / 100 for step in range(50, 90, 5)), *(step / 200 for step in range(180, 198))})
) + tuple(step / 2000 for step in range(1980, 2001))
MAX_METADATA = 100_000  # characters


class Predict(Section):
    """Use of the models by `inkflow predict` and `score`."""

    keep: float = Field(
        DEFAULT_KEEP,
        ge=0.5,
        le=1,
        description="share of the validation images that is answered; for images with less probability, or less like "
        "the training images, the answer is `unsure`",
    )


@dataclass(frozen=True)
class Thresholds:
    """An answer is unsure if its probability is below `probability`, or the image's unlikeness above `unlikeness`."""

    probability: float
    unlikeness: float | None = None  # None: the model has no such output


@dataclass(frozen=True)
class Doubt:
    """The facts about doubt in the metadata of a model.

    Attributes:
        temperature: The number by which logits are divided before the softmax; it is a part of the model.
        levels: Shares of the validation images that the thresholds keep, ascending.
        probability: The threshold of the probability for each level.
        unlikeness: The threshold of the unlikeness for each level; empty if the model has no such output.
    """

    temperature: float = 1.0
    levels: tuple[float, ...] = ()
    probability: tuple[float, ...] = ()
    unlikeness: tuple[float, ...] = ()

    def thresholds(self, keep: float) -> Thresholds | None:
        """Returns the thresholds that keep at least the share `keep`, or None if the model has none."""
        for number, level in enumerate(self.levels):
            if level >= keep - 1e-9:
                unlikeness = self.unlikeness[number] if self.unlikeness else None
                return Thresholds(self.probability[number], unlikeness)
        return None

    def to_json(self) -> str:
        """Serialises the facts for the metadata of an exported model."""
        return json.dumps(asdict(self))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Doubt | None":
        """Reads the facts from the metadata of an exported model; None for a model without them.

        Raises:
            ValueError: The metadata has facts that `to_json` does not write.
        """
        return read_metadata(metadata, METADATA, MAX_METADATA, "numbers", cls._from_content)

    @classmethod
    def _from_content(cls, content: Mapping[str, Any]) -> "Doubt":
        lists = [tuple(map(float, content[key])) for key in ("levels", "probability", "unlikeness")]
        temperature = float(content["temperature"])
        levels, probability, unlikeness = lists
        if not all(map(math.isfinite, (temperature, *levels, *probability, *unlikeness))) or temperature <= 0:
            raise ValueError(f"{METADATA} has numbers that are not finite, or a temperature that is not above 0")
        if len(probability) != len(levels) or len(unlikeness) not in (0, len(levels)) or list(levels) != sorted(levels):
            raise ValueError(f"{METADATA} has no threshold for each of its levels, in ascending order")
        return cls(temperature, levels, probability, unlikeness)
