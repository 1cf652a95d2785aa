"""What the report says of a comparison, a training and a calibration: no more than the figures show."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from stages.model.optimizer_config import Optimizer, Schedule, ScheduleName
from stages.report import sentences
from stages.report.facts import Facts, Folders, Group, arrange, gather_facts
from stages.report.formats import chance, percent, plural, points
from stages.report.model_comparison import change, judgement, level, verdict
from stages.report.model_facts import ModelFacts
from stages.report.page.plots import learning_curve
from stages.report.statistics.paired_tests import compare, compare_values
from tests.support.report_data import finish_run, small_digits

N = 450  # test images


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """The facts of digits and one model, to be replaced in parts."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (16,)}, epochs=2)
    return gather_facts(run.params, Folders.below(run.root))


def erring(facts: Facts, name: str, wrong: Iterable[int]) -> ModelFacts:
    """A model that reads the test images `wrong` as the next digit, and all others right, each with 0.9."""
    (model,) = facts.classifiers
    labels = np.asarray(model.labels)
    said = labels.copy()
    said[list(wrong)] = (said[list(wrong)] + 1) % 10
    sure = np.full((N, 10), 0.1 / 9)
    sure[np.arange(N), said] = 0.9
    table = model.predictions.assign(predicted=said, probability=0.9, **{f"p{d}": sure[:, d] for d in range(10)})
    errors = int((said != labels).sum())
    exam = model.exam.model_copy(update={"errors": errors, "accuracy": 1 - errors / N, "loss": errors / N})
    return replace(model, name=name, predictions=table, exam=exam)


def group(facts: Facts, **wrong: Iterable[int]) -> tuple[Facts, Group]:
    """Facts of models that err on the images given, and their group."""
    arranged = arrange([erring(facts, name, those) for name, those in wrong.items()], facts.data, facts.settings)
    return arranged, arranged.groups[0]


def test_as_many_errors_are_no_lead(facts: Facts) -> None:
    """Two models with as many errors on different images are level, and neither leads."""
    tied, two = group(facts, a=range(10), b=range(20, 30))
    said = verdict(tied)
    assert said.headline == "No evidence of a difference between a and b"
    assert "Level with it is b (" in said.evidence and "lead" not in " ".join(said)
    assert judgement(two.pairs[0]) == change(two.pairs[0]) == "level"


def test_same_images_are_said_so(facts: Facts) -> None:
    """Two models that are right on the same images have p = 1 and are called that."""
    _, two = group(facts, a=range(10), b=range(10))
    assert two.pairs[0].p == 1.0 and judgement(two.pairs[0]) == "right on the same images"


def test_a_difference_that_may_be_chance_is_no_lead(facts: Facts) -> None:
    """What the test images cannot tell apart stands in one headline, what is clearly worse does not."""
    some, four = group(facts, a=range(10), b=range(5, 17), c=range(7, 20), poor=range(100))
    assert verdict(some).headline == "No evidence of a difference between a, b and c, at the top of 4 models"
    assert level(four) == ["a", "b", "c"]
    assert verdict(some).evidence.endswith("): that may be chance.")
    every, _ = group(facts, a=range(10), b=range(5, 17), c=range(7, 20))
    assert verdict(every).headline == "No evidence of a difference between the 3 models"


def test_models_that_differ_are_never_called_level(facts: Facts) -> None:
    """Of three, each of two cannot be told from the best, yet they differ: the headline is about the best alone."""
    odd, three = group(facts, best=range(20), middle=range(100, 122), last=range(100, 134))
    shown = {(pair.first, pair.second) for pair in three.pairs if pair.shown}
    assert shown == {("middle", "last")}
    expected = "No evidence sets best, which reads 95.56% of the test images right, apart from middle or last"
    assert verdict(odd).headline == expected


def test_a_shown_difference_is_a_win(facts: Facts) -> None:
    """The best of two is called so when McNemar's test shows it."""
    clear, two = group(facts, a=range(10), poor=range(100))
    assert verdict(clear).headline.startswith("a is the best of 2 models: it reads 97.78% of the test images right")
    assert judgement(two.pairs[0]) == "a is better" and level(two) == ["a"]


def test_all_wrong_and_none_wrong(facts: Facts) -> None:
    """The ends: every image read wrong by one, none by the other; the interval stays within -1 to 1."""
    right, wrong = erring(facts, "right", []), erring(facts, "wrong", range(N))
    pair = compare(right, wrong)
    assert pair.difference == 1.0 and pair.p == pytest.approx(2 * 0.5**N)
    assert 0.98 < pair.interval.low < pair.interval.high == pytest.approx(1)
    assert compare(wrong, wrong).p == 1.0 and wrong.interval.low == 0.0 and right.interval.high == 1.0


class Values:
    """A model of values, as a comparison needs it."""

    def __init__(self, name: str, misses: Iterable[float]) -> None:
        self.name, self.misses = name, np.array(list(misses))


def test_values_are_compared_as_statsmodels_does() -> None:
    """The paired t test is that of the differences against 0, with its interval."""
    random = np.random.default_rng(0)
    first, second = random.uniform(0, 1, 60), random.uniform(0.1, 1.2, 60)
    pair, oracle = compare_values(Values("a", first), Values("b", second)), DescrStatsW(second - first)
    assert pair.p == pytest.approx(oracle.ttest_mean(0)[1])
    assert tuple(pair.interval) == pytest.approx(oracle.tconfint_mean())


def test_values_at_their_edges() -> None:
    """One image shows nothing; rounding is no difference; one and the same difference counts its images alone."""
    assert compare_values(Values("a", [0.1]), Values("b", [0.4])).p == 1.0
    noise = compare_values(Values("a", [0.1 + 0.2, 0.5, 0.7]), Values("b", [0.3, 0.5, 0.7]))
    assert (noise.difference, noise.p, judgement(noise)) == (0.0, 1.0, "level")
    steady = compare_values(Values("a", [0.1, 0.2, 0.3] * 4), Values("b", [0.2, 0.3, 0.4] * 4))
    assert steady.p == 2 * 0.5**12 and steady.interval.low == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "exponential"])
def test_schedules_that_end_low_promise_nothing(facts: Facts, name: ScheduleName) -> None:
    """Where the learning rate was brought down to the end, a loss lowest at the end says nothing of more epochs."""
    assert "more epochs" not in sentences.turning_point(falling(facts, Schedule(name=name)))


@pytest.mark.parametrize("schedule", [None, Schedule(name="constant")])
def test_a_constant_rate_may_go_on(facts: Facts, schedule: Schedule | None) -> None:
    """Where the rate stayed, a loss lowest at the end says that more epochs may help."""
    assert sentences.turning_point(falling(facts, schedule)).endswith("more epochs may help.")


def falling(facts: Facts, schedule: Schedule | None) -> ModelFacts:
    """A model whose validation loss was lowest at the end."""
    (model,) = facts.classifiers
    settings = model.params.model_copy(update={"optimizer": Optimizer(name="adam", schedule=schedule)})
    return replace(model, params=settings, history=model.history.assign(val_loss=[0.5, 0.4]))


def test_calibration_in_words_counts_the_bins(facts: Facts) -> None:
    """Answers given with 0.9 and right in 97.8% stand outside the interval, and the words and figures say so."""
    said = sentences.calibration(erring(facts, "a", range(10)))
    low, high = proportion_confint(440, 450, method="wilson")
    assert "lie 7.78 points apart" in said and "In 0 of 1 bin, with 0.00% of the images" in said
    assert f"of 450 images with 90.0% on average 440 are right (97.8%, interval {low:.1%} to {high:.1%})" in said
    assert "gives 90.00%, below the interval of its accuracy: not sure enough" in said


def test_good_calibration_is_no_promise(facts: Facts) -> None:
    """Answers given with 0.9 and right in 90% are inside; nothing more than that is claimed."""
    said = sentences.calibration(erring(facts, "a", range(45)))
    assert "In 1 of 1 bin, with 100.00% of the images" in said and "outside" not in said
    assert said.endswith("gives 90.00%, within the interval of its accuracy.") and "at their word" not in said


def test_a_curve_is_drawn_smoothed_or_as_measured(facts: Facts) -> None:
    """With a weight each quantity has a faint line beside its bold one, without it a bold one alone."""
    (model,) = facts.classifiers
    smoothed, plain = (learning_curve(model.history, "loss", "Loss", factor, "salt") for factor in (0.9, None))
    assert (smoothed.count("stroke-width: 2"), plain.count("stroke-width: 2")) == (2, 2)
    assert "stroke-opacity" in smoothed and "stroke-opacity" not in plain


def test_figures_in_words() -> None:
    """No rounding that misleads: 0.049 and 0.051 differ, 100% is all, a difference of nothing has no sign."""
    assert [chance(0.0496), chance(0.0504), chance(0.52)] == [f"p\u00a0=\u00a0{p}" for p in ("0.050", "0.050", "0.52")]
    assert chance(0.049) != chance(0.051)
    assert [percent(0.99999), percent(1.0)] == ["99.99%", "100.00%"]
    assert [points(-0.001), points(0.0), points(-1.5)] == ["0.00", "0.00", "\u22121.50"]
    assert [plural(1, "error"), plural(1200, "error")] == ["1 error", "1,200 errors"]
