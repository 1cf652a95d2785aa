"""Selects test images to show: errors of two models, doubtful labels, and the images of confusion matrix cells."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import Answer, ModelFacts
from stages.report.models.pairs import Pair
from stages.report.statistics.intervals import Mask

MAX_IMAGES = 12  # in a gallery
CORRECT_PER_CELL = 6  # images behind a cell of the diagonal
ERRORS_PER_CELL = 24  # images behind any other cell
DOUBT = 0.5  # mean probability of another class from which a label is doubtful
VALUE_ERRORS = 60  # images of the largest errors of each regression


class Disagreement(NamedTuple):
    """Images behind a comparison: errors of the first model only, of the second only, and of both."""

    pair: Pair
    only_first: list[Answer]
    only_second: list[Answer]
    both: list[Answer]


def disagreement(pair: Pair, limit: int = MAX_IMAGES) -> Disagreement:
    """Returns the first images of each kind, with the answers of the model that errs; of both, the first model's."""
    first, second = pair.first, pair.second
    return Disagreement(
        pair,
        _answers(first, ~first.correct & second.correct, limit),
        _answers(second, first.correct & ~second.correct, limit),
        _answers(first, ~first.correct & ~second.correct, limit),
    )


def _answers(model: ModelFacts, selected: Mask, limit: int) -> list[Answer]:
    return [model.answer(index) for index in np.flatnonzero(selected)[:limit]]


def doubtful_labels(models: Sequence[Classifier], limit: int = MAX_IMAGES) -> list[Answer]:
    """Returns images for which all models agree on another class than the label, the least likely label first.

    The probabilities are means over the models (confident learning: Northcutt, Jiang, Chuang 2021).
    """
    probabilities = np.mean([model.probabilities for model in models], axis=0)
    labels, predicted = models[0].labels, probabilities.argmax(axis=1)
    agreed = np.logical_and.reduce([model.predicted == predicted for model in models])
    top = probabilities.max(axis=1)
    doubtful = np.flatnonzero(agreed & (predicted != labels) & (top >= DOUBT))
    selected = doubtful[np.lexsort((doubtful, probabilities[doubtful, labels[doubtful]]))][:limit]
    names = models[0].class_names
    return [Answer(int(i), names[labels[i]], names[predicted[i]], probability=float(top[i])) for i in selected]


def images_by_cell(model: Classifier) -> dict[str, list[int]]:
    """Returns test images of each cell `actual-predicted` of the confusion matrix, the most interesting first.

    Of errors these are the most confident ones, of correct predictions the least confident ones.
    """
    order = np.lexsort((np.arange(len(model.labels)), np.where(model.correct, model.confidence, -model.confidence)))
    cells: dict[str, list[int]] = {}
    for index in order:
        images = cells.setdefault(f"{model.labels[index]}-{model.predicted[index]}", [])
        if len(images) < (CORRECT_PER_CELL if model.correct[index] else ERRORS_PER_CELL):
            images.append(int(index))
    return cells


def images_of_cells(models: Iterable[Classifier]) -> list[int]:
    """Returns every test image of a cell of some model once: errors first, then correct predictions."""
    errors, correct = dict[int, None](), dict[int, None]()
    for model in models:
        for indexes in images_by_cell(model).values():
            for index in indexes:
                (correct if model.correct[index] else errors)[index] = None
    return [*(errors | correct)]
