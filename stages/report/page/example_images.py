"""Which test images are worth a look: worst errors, errors of one model alone, labels that may be wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.report.facts import Group
from stages.report.model_facts import ModelFacts
from stages.report.statistics.paired_tests import Pair

WORST = 12  # images in a gallery
UNSURE = 6  # right answers behind a cell of the diagonal, the least sure ones
LOOKED_UP = 24  # images behind any other cell
SURE = 0.5  # mean probability of one other class from which a label is in doubt


@dataclass(frozen=True)
class Answer:
    """One test image and what one model, or all, say of it."""

    index: int
    label: str
    said: str
    probability: float
    loss: float | None = None


def worst(model: ModelFacts, limit: int = WORST) -> list[Answer]:
    """The errors with the largest loss, the worst first; of equals the earlier image."""
    losses = model.predictions["loss"].to_numpy()
    wrong = np.flatnonzero(~model.right)
    order = wrong[np.lexsort((wrong, -losses[wrong]))]
    return [answer(model, index) for index in order[:limit]]


def answer(model: ModelFacts, index: int | np.integer) -> Answer:
    """What `model` says of the test image `index`."""
    row = model.predictions.iloc[int(index)]
    names = model.class_names
    probability, loss = float(row["probability"]), float(row["loss"])
    return Answer(int(index), names[int(row["label"])], names[int(row["predicted"])], probability, loss)


@dataclass(frozen=True)
class Disagreement:
    """Images behind a comparison: errors of the first model only, of the second only, of both."""

    pair: Pair
    only_first: list[Answer]
    only_second: list[Answer]
    both: list[Answer]


def disagreement(group: Group, pair: Pair, limit: int = WORST) -> Disagreement:
    """The first images of each kind; each answer is that of the model that errs, of both the first's."""
    models = {model.name: model for model in group.models}
    first, second = models[pair.first], models[pair.second]
    return Disagreement(
        pair,
        _first(first, ~first.right & second.right, limit),
        _first(second, first.right & ~second.right, limit),
        _first(first, ~first.right & ~second.right, limit),
    )


def _first(model: ModelFacts, chosen: npt.NDArray[np.bool_], limit: int) -> list[Answer]:
    return [answer(model, index) for index in np.flatnonzero(chosen)[:limit]]


def doubtful_labels(group: Group, limit: int = WORST) -> list[Answer]:
    """Images whose label every model contradicts with one voice, those first whose label is least likely.

    The probabilities are the mean over the models (confident learning: Northcutt, Jiang, Chuang 2021).
    """
    every = np.mean([model.probabilities for model in group.models], axis=0)
    labels = np.asarray(group.best.predictions["label"], np.int64)
    said = every.argmax(axis=1)
    agreed = np.logical_and.reduce([model.predicted == said for model in group.models])
    top = every.max(axis=1)
    doubted = np.flatnonzero(agreed & (said != labels) & (top >= SURE))
    quality = every[doubted, labels[doubted]]
    names = group.best.class_names
    chosen = doubted[np.lexsort((doubted, quality))][:limit]
    return [Answer(int(i), names[labels[i]], names[said[i]], float(top[i])) for i in chosen]


def cells(model: ModelFacts) -> dict[str, list[int]]:
    """Test images behind each cell `actual-predicted` of the confusion matrix, those most worth a look first."""
    labels, predicted = np.asarray(model.labels), model.predicted
    sure = model.predictions["probability"].to_numpy()
    order = np.lexsort((np.arange(len(labels)), np.where(model.right, sure, -sure)))
    found: dict[str, list[int]] = {}
    for index in order:
        behind = found.setdefault(f"{labels[index]}-{predicted[index]}", [])
        if len(behind) < (UNSURE if model.right[index] else LOOKED_UP):
            behind.append(int(index))
    return found


def shares(model: ModelFacts, indexes: Iterable[int]) -> dict[str, float]:
    """The probability that `model` gave its answer for each of the test images."""
    sure = model.predictions["probability"].to_numpy()
    return {str(index): round(float(sure[index]), 4) for index in indexes}


def by_need(models: Sequence[ModelFacts]) -> list[int]:
    """Every test image behind a cell of some model: first errors, then right answers, each once."""
    wrong, right = dict[int, None](), dict[int, None]()
    for model in models:
        for name, indexes in cells(model).items():
            actual, said = name.split("-")
            (right if actual == said else wrong).update(dict.fromkeys(indexes))
    return [*wrong, *(index for index in right if index not in wrong)]
