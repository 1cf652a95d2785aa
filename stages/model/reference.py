"""What a model has seen in its validation part: the reference that later images are compared with.

It is metadata of the exported model, so that it is wherever the model is. It holds counts alone, no image.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stages.model.metadata import read_metadata

METADATA = "inkflow.reference"  # metadata key of an exported model
CONFIDENCE, UNLIKE = "confidence", "unlikeness"  # names of statistics; those of images are in samples.image_statistics
DECIMALS = {UNLIKE: 3}  # to which a statistic is rounded; all others to 4
MAX_METADATA, MAX_BINS, MAX_SAMPLES = 5_000_000, 1000, 10**12  # characters; of one statistic; in all


@dataclass(frozen=True)
class Distribution:
    """How many validation samples have a value below the first of the `edges`, from it to the second, and so on."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """The reference of one model.

    Attributes:
        samples: Number of validation samples.
        classes: How many of them were given each class.
        unsure: How many of them are unsure, for each level of the model's thresholds.
        crop: Pixels at the top, bottom, left and right that the model does not read.
        statistics: The distribution of each statistic.
    """

    samples: int
    classes: tuple[int, ...]
    unsure: tuple[int, ...] = ()
    crop: tuple[int, ...] = (0, 0, 0, 0)
    statistics: Mapping[str, Distribution] = field(default_factory=dict)

    def to_json(self) -> str:
        """Serialises the reference for the metadata of an exported model."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Reference | None":
        """Reads the reference from the metadata of an exported model; None for a model without one.

        Raises:
            ValueError: The metadata has something that `to_json` does not write.
        """
        return read_metadata(metadata, METADATA, MAX_METADATA, "counts", cls.from_content)

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> "Reference":
        """Returns the reference in the parsed JSON of `to_json`.

        Raises:
            ValueError: A number is out of its range, or the counts do not fit each other.
        """
        statistics = {}
        for name, item in content["statistics"].items():
            edges = tuple(map(float, item["edges"]))
            statistics[str(name)] = Distribution(edges, _counts(item["counts"]))
        crop = _counts(content["crop"])
        found = cls(int(content["samples"]), _counts(content["classes"]), _counts(content["unsure"]), crop, statistics)
        for part in (found.classes, *(item.counts for item in statistics.values())):
            if sum(part) != found.samples or not 1 <= found.samples <= MAX_SAMPLES:
                raise ValueError(f"{METADATA} has counts whose sum is not the number of its samples")
        for item in statistics.values():
            is_ascending = all(low < high for low, high in zip(item.edges, item.edges[1:], strict=False))
            if len(item.counts) != len(item.edges) + 1 or len(item.edges) > MAX_BINS or not is_ascending:
                raise ValueError(f"{METADATA} has a distribution without one count for each of its ascending bins")
            if not all(map(math.isfinite, item.edges)):
                raise ValueError(f"{METADATA} has edges that are not finite")
        if len(crop) != 4 or max(found.unsure, default=0) > found.samples:
            raise ValueError(f"{METADATA} has a crop of other than four sides, or more unsure samples than samples")
        return found


def _counts(values: Any) -> tuple[int, ...]:
    counts = tuple(map(int, values))
    if any(count < 0 for count in counts):
        raise ValueError(f"{METADATA} has a count below 0")
    return counts
