"""What a model answers about one sample: a class with its probability, or the value of a regression."""

from typing import NamedTuple

from stages.predict.doubt import NO_THRESHOLDS


class Prediction(NamedTuple):
    """The most probable class of one image, the second most probable one, and the doubt about the answer.

    `unsure` is None if the model states no thresholds; `reason` says why. `probabilities` are those of all classes.
    """

    name: str
    label: str
    probability: float
    runner_up: str
    runner_up_probability: float
    unsure: bool | None = None
    reason: str = NO_THRESHOLDS
    unlikeness: float | None = None
    probabilities: tuple[float, ...] = ()


class Value(NamedTuple):
    """The value that a regression predicts for one sample; the model states no doubt."""

    name: str
    value: float
    unsure: bool | None = None
    reason: str = NO_THRESHOLDS
    unlikeness: float | None = None

    @property
    def text(self) -> str:
        """The value with six significant digits."""
        return f"{self.value:.6g}"


Result = Prediction | Value
