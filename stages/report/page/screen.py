"""The first screen of the report: the bar, the ranking of each task, the cheapest leader, and where the best fails."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.model.divergence import diverges, loss_bound
from stages.report import model_comparison
from stages.report.config import Gates
from stages.report.data_card import Data
from stages.report.facts import Facts, ModelGroup
from stages.report.formats import count, enumerate_words, file_size, number, percent, plural
from stages.report.gates import GateResults
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import UNKNOWN, Answer, ModelFacts
from stages.report.models.regressor import Regressor
from stages.report.models.trivial import TrivialAnswer
from stages.report.page.axis import Axis, axis_of
from stages.report.page.example_images import images_by_cell
from stages.report.statistics.residuals import by_value
from stages.report.statistics.scores import frequent_confusions

CONFUSIONS, THUMBNAILS = 5, 3  # of the best model
DENSE = 12  # models from which the rows are lower
LIMITS = {"lower_bound", "mean_error"}  # gates that limit an end of the score's interval


class Row(NamedTuple):
    """A recipe in the ranking: its figures as text, and what makes it stand out."""

    model: ModelFacts
    figures: tuple[str, ...]
    limit: float | None  # of a quality gate
    leads: bool
    failed: tuple[str, ...]  # names of failed gates
    worse: bool  # than the trivial answer
    note: str


class Failure(NamedTuple):
    """Where a model fails: test samples of one kind, the worst first."""

    title: str
    text: str
    answers: list[Answer]
    cell: str = ""  # of the confusion matrix, `actual-predicted`


@dataclass(frozen=True)
class Screen:
    """The first screen of one group of models."""

    group: ModelGroup
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    axis: Axis
    trivial_figures: tuple[str, ...]

    @property
    def trivial(self) -> TrivialAnswer:
        """The trivial answer to the same test samples."""
        return self.group.trivial

    @property
    def is_dense(self) -> bool:
        """Whether the rows are lower, for many models."""
        return len(self.rows) > DENSE

    @property
    def title(self) -> str:
        """The task, for its tab."""
        return task_title(self.group)

    @property
    def axis_title(self) -> str:
        """What the numbers of the axis are."""
        scale = ", log scale" + (" of the errors" if self.axis.of_shares else "") if self.axis.logarithmic else ""
        return f"{self.group.best.score_name}{scale} ({'right' if self.axis.of_shares else 'left'} is better)"

    @property
    def has_seeds(self) -> bool:
        """Whether a model has several seeds."""
        return any(len(row.model.seeds) > 1 for row in self.rows)


def task_title(group: ModelGroup) -> str:
    """Returns the task of `group` in a few words."""
    best = group.best
    if not isinstance(best, Classifier):
        return "value"
    if best.training.task == "two_class":
        return f"{best.class_names[1]} against the rest"
    return f"{best.classes} classes"


def screen(group: ModelGroup, data: Data, results: GateResults | None, gates: Gates | None) -> Screen:
    """Returns the first screen of `group`."""
    checks = results.checks if results else ()
    judged = {check.model for check in checks if check.gate in LIMITS and check.status != "not judged"}
    limits = {model.name: _limit(model, gates) for model in group.models if gates and model.name in judged}
    leaders = model_comparison.leaders(group)
    rows = tuple(
        Row(
            model,
            _figures(model),
            limits.get(model.name),
            len(leaders) > 1 and model.name in leaders,
            tuple(check.gate for check in checks if check.model == model.name and check.status == "failed"),
            group.trivial.is_better_than(model),
            _note(model, data),
        )
        for model in group.models
    )
    trivial = group.trivial
    headings = ("Accuracy", "Errors", "Gap", "Size") if trivial.is_class else ("Mean error", "R²", "Size")
    others = (count(trivial.errors), "", "") if trivial.is_class else (UNKNOWN, "")
    figures = (group.best.format_score(trivial.score), *others)
    axis = axis_of(group, [limit for limit in limits.values() if limit is not None])
    return Screen(group, headings, rows, axis, figures)


def _figures(model: ModelFacts) -> tuple[str, ...]:
    size = file_size(model.onnx.size)
    cells = {cell.heading: cell.text for cell in model.test_cells}
    if isinstance(model, Classifier):
        return model.format_score(model.score), cells["Errors"], cells["Gap (points)"], size
    return model.format_score(model.score), cells["R²"], size


def _limit(model: ModelFacts, gates: Gates | None) -> float | None:
    if gates is None:
        return None
    gate = gates.of(model.name)
    return gate.lower_bound if model.larger_is_better else gate.mean_error


def _note(model: ModelFacts, data: Data) -> str:
    over = model.overfitting if isinstance(model, Classifier) else ""
    return "diverged" if has_diverged(model, data) else over


def has_diverged(model: ModelFacts, data: Data) -> bool:
    """Returns whether the loss diverges in the last epoch or in that of the kept weights, by the rule of the training.

    An earlier epoch is no mark: the training recovered.
    """
    losses = model.history[["loss", "val_loss"]].to_numpy(np.float64)
    arrays, classes = data.arrays, data.description.classes
    bound = loss_bound(model.params, arrays.y_train, classes, losses[0, 0], arrays.w_train)
    ends = losses[-1], losses[(model.training.kept_epoch or 0) - 1]
    return any(diverges(loss, val_loss, bound) for loss, val_loss in ends)


def diverged(facts: Facts) -> list[str]:
    """Returns the names of the models whose training diverged."""
    return [model.name for model in facts.models if has_diverged(model, facts.data)]


def gate_counts(results: GateResults) -> str:
    """Returns the number of quality gates with each status, those with none too, as text of the bar."""
    return ", ".join(f"{count(checks)} {status}" for status, checks in results.counts.items())


def cheapest(group: ModelGroup) -> str:
    """Returns a sentence on the cheapest of the leaders: by size of the file as shown, then epochs of the training.

    Where no model is chosen, it is about all models.
    """
    leaders = model_comparison.leaders(group)
    models = [model for model in group.models if model.name in leaders or not leaders]
    best = min(models, key=lambda model: (_shown_size(model), model.training.epochs))
    cost = f"{file_size(best.onnx.size)}, {plural(best.training.epochs, 'epoch')} of training"
    if len(models) == 1:
        return f"It takes {cost}." if len(group.models) > 1 else f"It has {cost}."
    equal = [
        model.name
        for model in models
        if (_shown_size(model), model.training.epochs) == (_shown_size(best), best.training.epochs)
    ]
    if len(equal) == len(models):
        return f"They are equally cheap: {cost} each."
    names = enumerate_words(equal[:3]) + (f" and {len(equal) - 3} more" if len(equal) > 3 else "")
    return f"The cheapest of these {len(models)} {'is' if len(equal) == 1 else 'are'} {names}: {cost}."


def _shown_size(model: ModelFacts) -> int:
    """Returns the size of the exported model in bytes, rounded as `file_size` shows it."""
    unit = 10_000 if model.onnx.size >= 100_000 else 100
    return round(model.onnx.size / unit) * unit


def failures(model: ModelFacts, limit: int = CONFUSIONS) -> list[Failure]:
    """Returns where `model` fails most, with a few test samples each."""
    if isinstance(model, Classifier):
        return _confused(model, limit)
    return _missed(model, limit) if isinstance(model, Regressor) else []


def _confused(model: Classifier, limit: int) -> list[Failure]:
    cells, names, found = images_by_cell(model), model.class_names, []
    for cell in frequent_confusions(model.confusion, limit):
        place = f"{cell.actual}-{cell.predicted}"
        answers = [model.answer(index) for index in cells[place][:THUMBNAILS]]
        text = f"{plural(cell.images, model.noun)}, {percent(cell.share)} of those labelled {names[cell.actual]}"
        found.append(Failure(f"{names[cell.actual]} → {names[cell.predicted]}", text, answers, place))
    return found


def _missed(model: Regressor, limit: int) -> list[Failure]:
    rows = by_value(model.labels, model.values)
    found = []
    for row in sorted(rows, key=lambda row: (-row.error, row.low))[:limit]:
        members = row.indexes[np.argsort(-model.absolute_errors[row.indexes], kind="stable")]
        answers = [model.answer(index) for index in members[:THUMBNAILS]]
        text = f"mean error {number(row.error)}, bias {row.bias_text}"
        found.append(Failure(f"true value {row.name}", text, answers))
    return found
