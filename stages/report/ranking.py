"""The order of models: by their scores on the validation part, which may choose, not by those on the test images."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stages.report.comparability import LOSS_KEYS
from stages.report.formats import four_decimals
from stages.report.models.model_facts import UNKNOWN, Cell, ModelFacts
from stages.report.statistics.spread import Spread


class Criterion(NamedTuple):
    """A score on the validation part by which models are ranked, the mean of a model's seeds."""

    name: str
    spread: Callable[[ModelFacts], Spread]
    format: Callable[[ModelFacts, float], str]
    larger_is_better: bool = False

    def key(self, model: ModelFacts) -> tuple[float, str]:
        """Returns the sort key of a model, lowest for the best one; an unknown score is last."""
        mean = self.spread(model).mean
        if math.isnan(mean):
            return math.inf, model.name
        return -mean if self.larger_is_better else mean, model.name

    def cell(self, model: ModelFacts) -> Cell:
        """Returns the figure of a model in the table of models, with the deviation between its seeds."""
        spread = self.spread(model)
        text = UNKNOWN if math.isnan(spread.mean) else self.format(model, spread.mean)
        ends = "" if math.isnan(spread.deviation) else f"± {self.format(model, spread.deviation)}"
        return Cell(self.name.capitalize(), text, spread.mean, ends=ends)

    def claim(self, model: ModelFacts) -> str:
        """Returns the value of `model`, which is the first one, as the predicate of a sentence."""
        mean = self.spread(model).mean
        if math.isnan(mean):
            return "comes first by its name alone: there is no validation score to choose by"
        return f"has the {'highest' if self.larger_is_better else 'lowest'} {self.name}, {self.format(model, mean)}"


def criterion(models: Sequence[ModelFacts]) -> Criterion:
    """Returns what ranks the models: the validation loss if all have the same loss function, else their metric.

    Values of different loss functions cannot be compared.
    """
    if len({_loss_function(model) for model in models}) == 1:
        return Criterion("validation loss", lambda model: model.validation_loss, lambda _, loss: four_decimals(loss))
    first = models[0]
    return Criterion(
        f"validation {first.metric_name}",
        lambda model: model.validation_metric,
        lambda model, score: model.format_score(score),
        first.larger_is_better,
    )


def ranked(models: Iterable[ModelFacts]) -> list[ModelFacts]:
    """Returns the models that can be compared, the best one on the validation part first."""
    members = list(models)
    return sorted(members, key=criterion(members).key)


def _loss_function(model: ModelFacts) -> tuple[object, ...]:
    """Returns what decides the values of the model's loss; sparse labels only encode the same loss differently.

    An own network may have penalties that are a part of its loss.
    """
    return tuple(str(getattr(model.params, key, None)).removeprefix("sparse_") for key in LOSS_KEYS)
