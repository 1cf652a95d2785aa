"""The facts of a run: its data set, and its models in groups that can be compared."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from operator import attrgetter

from stages.report.config import Report
from stages.report.data_card import Data
from stages.report.formats import ends_text
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import Cell, ModelFacts
from stages.report.models.pairs import Pair, compare_all
from stages.report.models.recipes import RecipePair, compare_recipes
from stages.report.models.trivial import TrivialAnswer, trivial_answer
from stages.report.ranking import Criterion, criterion, ranked


@dataclass(frozen=True)
class ModelGroup:
    """Models with the same kind of prediction and the same test labels, the best on the validation part first.

    If their validation scores cannot be compared, the order is that of the names.
    """

    models: tuple[ModelFacts, ...]
    trivial: TrivialAnswer  # to the same test samples
    incomparable: str = ""  # why the validation scores of these models cannot be compared; empty where they can

    @property
    def best(self) -> ModelFacts:
        """The model with the best validation score; the first by name where no score is known."""
        return self.models[0]

    @property
    def criterion(self) -> Criterion:
        """The validation score that ranks the models."""
        return criterion(self.models)

    @property
    def is_ranked(self) -> bool:
        """Whether validation scores choose the best model; without them the order is that of the names."""
        is_known = not math.isnan(self.criterion.spread(self.best).mean)
        return len(self.models) == 1 or (is_known and not self.incomparable)

    @property
    def why_unranked(self) -> str:
        """Why no model is chosen, as a clause."""
        return self.incomparable or "there is no validation score to choose by"

    @property
    def chosen(self) -> ModelFacts | None:
        """The best model, if the validation part chooses one."""
        return self.best if self.is_ranked else None

    @property
    def order(self) -> str:
        """What orders the models, as a heading."""
        return f"Ranking by {self.criterion.name}" if self.is_ranked else "Models by name"

    def cells(self, model: ModelFacts) -> list[Cell]:
        """The row of `model` in the table of models: the validation score that ranks, then its figures."""
        return [self.criterion.cell(model), *model.cells]

    @property
    def trivial_cells(self) -> list[Cell]:
        """The row of the trivial answer in the table of models: its score and interval; other figures are empty."""
        form = self.best.format_score
        texts = {"score": form(self.trivial.score), "range": ends_text(self.trivial.interval, form)}
        cells = self.cells(self.best)
        return [Cell(cell.heading, texts.get(cell.role, ""), math.nan, role=cell.role) for cell in cells]

    @property
    def kind(self) -> str:
        """The kind of the models."""
        return self.best.kind

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Each two models, with p-values corrected for all of them."""
        return compare_all(self.models)

    @cached_property
    def recipe_pairs(self) -> tuple[RecipePair, ...]:
        """Each two models as recipes, over all their seeds, with p-values corrected for all of them."""
        return compare_recipes(self.pairs)

    @property
    def against_best(self) -> list[Pair]:
        """The comparisons of the best model with each other one."""
        return [pair for pair in self.pairs if pair.first is self.best]


@dataclass(frozen=True)
class Facts:
    """All facts that the report shows."""

    data: Data
    groups: tuple[ModelGroup, ...]  # classifiers of the data set's own classes first, regressions last
    params: Report

    @property
    def lead(self) -> ModelGroup:
        """The group that the verdict is about."""
        return self.groups[0]

    @property
    def models(self) -> tuple[ModelFacts, ...]:
        """All models."""
        return tuple(model for group in self.groups for model in group.models)

    @property
    def classifiers(self) -> tuple[Classifier, ...]:
        """All models that predict classes."""
        return tuple(model for model in self.models if isinstance(model, Classifier))

    @property
    def lead_classifiers(self) -> tuple[Classifier, ...]:
        """The models of the leading group; none where all models are regressions."""
        return self.classifiers[: len(self.lead.models)]


def arrange(models: Iterable[ModelFacts], data: Data, params: Report, incomparable: str = "") -> Facts:
    """Returns the facts with `models` in groups that can be compared, the best of each group first.

    If validation scores are `incomparable` for a reason, the models of a group are in the order of their names.
    """
    groups = groupby(sorted(models, key=lambda model: model.group_key), lambda model: model.group_key)
    order = partial(sorted, key=attrgetter("name")) if incomparable else ranked
    ordered = [tuple(order(members)) for _, members in groups]
    arranged = [ModelGroup(members, trivial_answer(members[0], data), incomparable) for members in ordered]
    return Facts(data, tuple(arranged), params)
