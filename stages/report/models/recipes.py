"""Recipes: models that were trained with several seeds, their spread, and their comparison in pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.report.models.model_facts import ModelFacts
from stages.report.models.pairs import Pair
from stages.report.statistics.paired_tests import holm_correction, holm_levels
from stages.report.statistics.recipe_tests import RecipeTest, recipe_test


@dataclass(frozen=True)
class RecipePair:
    """The test of two recipes, beside that of their exported weights."""

    weights: Pair
    test: RecipeTest | None  # at the level at which Holm's procedure tests this pair; None where one has a single seed
    corrected_p: float | None

    @property
    def verdict(self) -> str:
        """Whether a difference is one of the recipes, or only of the exported weights."""
        first, second = self.weights.first.name, self.weights.second.name
        if self.test is None:
            return "cannot tell: one seed"
        if self.test.shows_difference:
            return f"{first if self.test.difference > 0 else second} is the better recipe"
        if self.weights.significant:
            better = first if self.weights.test.difference > 0 else second
            return f"only these weights of {better} are better"
        return "cannot tell"

    @property
    def difference_text(self) -> str:
        """The difference of the mean scores, with its unit; empty where there is no test."""
        model = self.weights.first
        return model.format_difference(self.test.difference) + model.difference_unit if self.test else ""

    @property
    def interval_text(self) -> str:
        """The interval of the difference, without its unit; empty where there is no test."""
        ends = self.test.interval if self.test else ()
        return " to ".join(self.weights.first.format_difference(end) for end in ends)


def has_several_seeds(models: Iterable[ModelFacts]) -> bool:
    """Returns whether one of the models was trained with two or more seeds."""
    return any(len(model.seeds) > 1 for model in models)


def compare_recipes(pairs: Sequence[Pair]) -> tuple[RecipePair, ...]:
    """Tests the recipes of pairs of models, with p-values and intervals corrected for all of these tests."""
    scores = [(pair.first.seed_scores, pair.second.seed_scores) for pair in pairs]
    tests = [recipe_test(*each) for each in scores]
    p_values = [test.p for test in tests if test]
    corrected = iter(zip(holm_correction(p_values), holm_levels(p_values), strict=True))
    found = []
    for pair, each, test in zip(pairs, scores, tests, strict=True):
        p, level = next(corrected) if test else (None, None)
        found.append(RecipePair(pair, test if level is None else recipe_test(*each, level), p))
    return tuple(found)
