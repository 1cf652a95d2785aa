"""The axis of the ranking: cropped to the scores and their intervals, logarithmic where these span a large factor."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from stages.report.facts import ModelGroup
from stages.report.formats import number
from stages.report.models.model_facts import ModelFacts

LOG_FACTOR = 5  # of the largest to the smallest error, from which the scale is logarithmic
NEAR = 1.6  # a limit that is at most this factor beyond the errors widens the axis
MARGIN = 4  # percent of the width on each side
MANTISSAS = (1, 2, 5)
TICK_DISTANCE = 11  # percent of the width, between the centres of two numbers
PHONE_CHARACTER = 6  # percent of the width, which is 105 pixels on a phone of 360
PHONE_GAP = 5
ROUNDING = 1e-9


class Tick(NamedTuple):
    """A number below an axis.

    Attributes:
        place: its position, in percents of the width.
        text: the number.
        on_phone: whether there is space for it on a phone.
    """

    place: float
    text: str
    on_phone: bool


@dataclass(frozen=True)
class Axis:
    """An axis of scores; positions are percents of its width. Accuracies grow to the right, and so do mean errors."""

    low: float  # the smallest error
    high: float
    logarithmic: bool
    of_shares: bool  # scores are accuracies, errors 1 less them

    def position(self, score: float) -> float:
        """Returns the position of `score`; outside of 0 to 100 where it is beyond the ends."""
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        error = 1 - score if self.of_shares else score
        ends = scale(self.low), scale(self.high)
        share = (scale(max(error, self.low) if self.logarithmic else error) - ends[0]) / ((ends[1] - ends[0]) or 1)
        return round(MARGIN + (100 - 2 * MARGIN) * (1 - share if self.of_shares else share), 2)

    def contains(self, score: float) -> bool:
        """Returns whether `score` lies on the axis."""
        return 0 <= self.position(score) <= 100

    @property
    def ticks(self) -> list[Tick]:
        """The numbers below the axis."""
        errors = self._log_ticks() if self.logarithmic else MaxNLocator(4).tick_values(self.low, self.high)
        scores = [1 - float(error) if self.of_shares else float(error) for error in errors]
        inside = sorted((self.position(score), score) for score in scores if self._holds(score))
        kept: list[Tick] = []
        for place, score in inside:
            if not kept or place - kept[-1].place >= TICK_DISTANCE:
                text = self._text(score)
                on_phone = not any(_touch(place, text, tick) for tick in kept if tick.on_phone)
                kept.append(Tick(place, text, on_phone))
        return kept

    @property
    def tick_errors(self) -> list[float]:
        """The errors at the numbers of the axis."""
        errors = self._log_ticks() if self.logarithmic else MaxNLocator(4).tick_values(self.low, self.high)
        return [float(f"{error:.6g}") for error in errors if self.low <= error <= self.high]

    def _holds(self, score: float) -> bool:
        error = 1 - score if self.of_shares else score
        return self.low * (1 - ROUNDING) <= error <= self.high * (1 + ROUNDING)

    def _log_ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        decades = math.log10(self.high / self.low)
        mantissas = MANTISSAS if decades < 2 else MANTISSAS[:1]
        return [mantissa * 10.0**power for power in powers for mantissa in mantissas]

    def _text(self, score: float) -> str:
        return f"{round(100 * score, 6):.10g}%" if self.of_shares else number(score)


def _touch(place: float, text: str, tick: Tick) -> bool:
    """Returns whether a number and one on its left touch each other on a phone."""
    return place - tick.place < PHONE_CHARACTER * (len(text) + len(tick.text)) / 2 + PHONE_GAP


def axis_of(group: ModelGroup, limits: Iterable[float] = ()) -> Axis:
    """Returns the axis that holds the intervals and seeds of all models of `group`, and `limits` close to them."""
    shares = group.best.larger_is_better
    errors = [1 - score if shares else score for model in group.models for score in _scores(model)]
    smallest = min((error for error in errors if error > 0), default=1 / len(group.best.predictions))
    low, high = min(errors), max(errors)
    for limit in limits:
        error = 1 - limit if shares else limit
        if low / NEAR <= error <= high * NEAR:
            low, high = min(low, error), max(high, error)
    logarithmic = high > LOG_FACTOR * max(low, smallest / 2)
    return Axis(max(low, smallest / 2) if logarithmic else low, high, logarithmic, shares)


def _scores(model: ModelFacts) -> list[float]:
    interval = model.interval if model.interval.is_known else ()
    return [model.score, *interval, *model.score_spread.scores]
