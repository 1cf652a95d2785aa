"""Sentences about comparisons, trainings and calibration: they claim no more than the figures show."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from stages.model.optimizer_config import Optimizer, Schedule, ScheduleName
from stages.report import sentences
from stages.report.facts import Facts, ModelGroup, arrange
from stages.report.gather import Folders, gather_facts
from stages.report.model_comparison import leaders, pair_verdict, verdict, version_verdict
from stages.report.models.classifier import Classifier
from stages.report.models.pairs import Pair, compare
from stages.report.page.chart_rows import cost_figure, curve_figures
from stages.report.page.screen import cheapest
from stages.report.statistics.paired_tests import PairedTest, paired_t_test
from tests.support.report_data import finish_run, small_digits

N = 450  # test images


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """The facts of digits and one model, which tests replace in parts."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), {"dense": (16,)}, epochs=2)
    return gather_facts(run.params, Folders.of_project(run.root))


def classifier(facts: Facts, name: str, wrong: Iterable[int]) -> Classifier:
    """A model that predicts the next digit for the test images `wrong`, and all others correctly, each with 0.9.

    Its validation loss agrees: the model with the fewest errors is the one that the validation part chooses.
    """
    (model,) = facts.classifiers
    predicted = model.labels.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 10
    probabilities = np.full((N, 10), 0.1 / 9)
    probabilities[np.arange(N), predicted] = 0.9
    columns = {f"p{digit}": probabilities[:, digit] for digit in range(10)}
    table = model.predictions.assign(predicted=predicted, probability=0.9, **columns)
    errors = int((predicted != model.labels).sum())
    scores = {"errors": errors, "accuracy": 1 - errors / N, "loss": errors / N}
    validation = model.training.validation.model_copy(update={"loss": errors / N})
    training = model.training.model_copy(update={"validation": validation})
    evaluation = model.evaluation.model_copy(update=scores)
    return replace(model, name=name, training=training, predictions=table, evaluation=evaluation)


def group(facts: Facts, **wrong: Iterable[int]) -> ModelGroup:
    """Models with errors on the given test images."""
    models = [classifier(facts, name, indexes) for name, indexes in wrong.items()]
    return arrange(models, facts.data, facts.params).lead


def test_equal_errors_make_no_best_model(facts: Facts) -> None:
    """Two models with as many errors on different images are equal, and the headline names both."""
    tied = group(facts, a=range(10), b=range(20, 30))
    result = verdict(tied)
    assert result.headline == "Not enough evidence of a difference between a and b"
    assert "b has the same score (" in result.evidence and "best" not in " ".join(result)
    assert pair_verdict(tied.pairs[0]) == version_verdict(tied.pairs[0]) == "level"


def test_errors_on_the_same_images_are_named(facts: Facts) -> None:
    """Two models that are right on the same images have p = 1 and a verdict of their own."""
    (pair,) = group(facts, a=range(10), b=range(10)).pairs
    assert pair.test.p == 1.0 and pair_verdict(pair) == "right on the same images"


def test_a_difference_that_may_be_chance_makes_no_best_model(facts: Facts) -> None:
    """The headline names the models that the test images cannot tell apart, without those that are clearly worse."""
    four = group(facts, a=range(10), b=range(5, 17), c=range(7, 20), poor=range(100))
    assert verdict(four).headline == "Not enough evidence of a difference between a, b and c, the top 3 of 4 models"
    assert leaders(four) == ["a", "b", "c"]
    assert verdict(four).evidence.endswith("); the difference may be chance.")
    three = group(facts, a=range(10), b=range(5, 17), c=range(7, 20))
    assert verdict(three).headline == "Not enough evidence of a difference between the 3 models"


def test_models_that_differ_are_never_called_equal(facts: Facts) -> None:
    """Of three, neither of two can be told from the best, yet they differ: the headline is about the best alone."""
    three = group(facts, best=range(20), middle=range(100, 122), last=range(100, 134))
    significant = {(pair.first.name, pair.second.name) for pair in three.pairs if pair.significant}
    assert significant == {("middle", "last")}
    expected = "Not enough evidence that best, which has a test accuracy of 95.56%, is better than middle or last"
    assert verdict(three).headline == expected


def test_a_significant_difference_makes_the_best_model(facts: Facts) -> None:
    """The better of two models is called the best when McNemar's test is significant."""
    two = group(facts, a=range(10), poor=range(100))
    assert verdict(two).headline == "a is the best of 2 models: it has a test accuracy of 97.78%"
    assert pair_verdict(two.pairs[0]) == "a is better" and leaders(two) == ["a"]


def with_validation(model: Classifier, loss: float, accuracy: float = 0.9) -> Classifier:
    """The model with these scores on the validation part."""
    scores = model.training.validation.model_copy(update={"loss": loss, "accuracy": accuracy})
    return replace(model, training=model.training.model_copy(update={"validation": scores}))


def test_the_validation_part_chooses_and_the_test_images_do_not(facts: Facts) -> None:
    """A model that only the test images favour is not the chosen one, and the headline says that it is better there."""
    chosen, lucky = classifier(facts, "chosen", range(100)), classifier(facts, "lucky", range(10))
    models = [with_validation(lucky, 0.3), with_validation(chosen, 0.2)]
    two = arrange(models, facts.data, facts.params).lead
    assert [model.name for model in two.models] == ["chosen", "lucky"] == leaders(two)
    headline, evidence = verdict(two)
    assert headline == "chosen is the best on the validation part, but lucky is better on the test images"
    assert verdict(replace(two, models=tuple(replace(model, noun="vector") for model in two.models))).headline.endswith(
        "but lucky is better on the test vectors"
    )
    assert evidence.startswith("chosen has the lowest validation loss, 0.2000. On 450 test images chosen has a test")
    assert "lucky is next by validation loss, with 97.78%" in evidence


def test_without_validation_scores_no_model_is_the_best(facts: Facts) -> None:
    """Where nothing was held out, headline, order and marks name no best model, however clear the test images are."""
    models = [with_validation(classifier(facts, "a", range(100)), np.nan), classifier(facts, "b", range(10))]
    lead = arrange([models[0], with_validation(models[1], np.nan)], facts.data, facts.params).lead
    headline, evidence = verdict(lead)
    assert headline == "None of the 2 models is chosen: there is no validation score to choose by"
    assert evidence.startswith("a comes first by its name alone: there is no validation score to choose by. On 450")
    assert "b is next by name, with 97.78%" in evidence and "best" not in evidence
    assert leaders(lead) == [] and lead.order == "Models by name"
    assert cheapest(lead).startswith(("The cheapest of these 2", "They are equally cheap"))
    (alone,) = arrange(models[:1], facts.data, facts.params).groups
    assert verdict(alone).headline == "a has a test accuracy of 77.78%" and leaders(alone) == ["a"]


def test_losses_of_different_functions_do_not_rank(facts: Facts) -> None:
    """Models with different loss functions are ranked by validation accuracy; sparse labels make no difference."""
    first, second = classifier(facts, "a", range(10)), classifier(facts, "b", range(10))
    models = [with_validation(first, 0.1, 0.8), with_validation(second, 0.9, 0.95)]
    for loss, best, name in (
        ("categorical_crossentropy", "a", "validation loss"),
        ("mean_squared_error", "b", "validation accuracy"),
    ):
        other = replace(models[1], params=models[1].params.model_copy(update={"loss": loss}))
        lead = arrange([models[0], other], facts.data, facts.params).lead
        assert (lead.best.name, lead.criterion.name) == (best, name)
    assert "b has the highest validation accuracy, 95.00%." in verdict(lead).evidence


def test_all_errors_and_no_error(facts: Facts) -> None:
    """The extremes: one model errs on every image, the other on none; the interval stays within -1 to 1."""
    right, wrong = classifier(facts, "right", []), classifier(facts, "wrong", range(N))
    test = right.paired_test(wrong)
    assert test.difference == 1.0 and test.p == pytest.approx(2 * 0.5**N)
    assert 0.98 < test.interval.low < test.interval.high == pytest.approx(1)
    assert wrong.paired_test(wrong).p == 1.0 and wrong.interval.low == 0.0 and right.interval.high == 1.0


def test_models_of_other_labels_are_not_compared(facts: Facts) -> None:
    """Two models with different labels have no comparison."""
    first, second = classifier(facts, "a", []), classifier(facts, "b", [])
    others = replace(second, predictions=second.predictions.assign(label=0))
    assert compare(first, second) is not None and compare(first, others) is None


def test_interval_and_verdict_agree(facts: Facts) -> None:
    """In a group of many models each interval excludes 0 exactly where the corrected p-value gives a verdict."""
    models = {f"m{number}": range(10, 12 + 4 * number) for number in range(9)}
    pairs = group(facts, **models).pairs
    assert {pair.significant for pair in pairs} == {True, False}
    for pair in pairs:
        low, high = pair.test.interval
        assert pair.significant == (low > 0 or high < 0), (pair.first.name, pair.second.name)
        assert low <= pair.test.difference <= high


def test_evidence_names_the_kind_of_interval(facts: Facts) -> None:
    """One comparison has a 95% interval; the interval of several is called corrected, as the p-value is."""
    assert ", 95% interval " in verdict(group(facts, a=range(10), b=range(20, 40))).evidence.partition("next")[2]
    three = verdict(group(facts, a=range(10), b=range(20, 40), c=range(50, 80))).evidence
    assert ", corrected interval " in three and "both Holm-corrected for 3 comparisons" in three


def test_gap_has_an_interval_and_a_mark_only_where_the_validation_loss_rose(facts: Facts) -> None:
    """The gap's interval is that of the test accuracy; a model over-fits if the loss also rose by the kept epoch.

    A loss below 0 rises as one above it does.
    """
    model = classifier(facts, "a", range(45))
    exact = model.training.model_copy(update={"train": model.training.train.model_copy(update={"accuracy": 1.0})})
    rising = replace(model, training=exact, history=model.history.assign(val_loss=[0.4, 0.5]))
    low, high = proportion_confint(405, 450, method="wilson")
    assert rising.gap_interval == pytest.approx((100 * (1 - high), 100 * (1 - low)))
    assert rising.overfitting == rising.test_cells[-1].note == "over-fits"
    assert rising.test_cells[-1].ends
    kept = replace(rising, training=exact.model_copy(update={"kept_epoch": 1}))
    level = replace(rising, history=model.history.assign(val_loss=[0.4, 0.41]))
    equal = exact.model_copy(update={"train": exact.train.model_copy(update={"accuracy": 0.9})})
    no_gap = replace(rising, training=equal)
    assert [each.overfitting for each in (kept, level, no_gap)] == ["", "", ""]
    for losses, expected in (([-2.0, -1.8], "over-fits"), ([-2.0, -1.95], ""), ([-1.0, -2.0], "")):
        assert replace(rising, history=model.history.assign(val_loss=losses)).overfitting == expected


def t_test(first: Iterable[float], second: Iterable[float]) -> PairedTest:
    """The paired t test of two models' absolute errors."""
    return paired_t_test(np.array(list(first)), np.array(list(second)))


def test_values_are_compared_as_statsmodels_does() -> None:
    """The paired t test is that of the differences against 0, with its interval."""
    random = np.random.default_rng(0)
    first, second = random.uniform(0, 1, 60), random.uniform(0.1, 1.2, 60)
    test, oracle = t_test(first, second), DescrStatsW(second - first)
    assert test.p == pytest.approx(oracle.ttest_mean(0)[1])
    assert tuple(test.interval) == pytest.approx(oracle.tconfint_mean())


def test_values_at_their_edges(facts: Facts) -> None:
    """One image shows nothing; rounding is no difference; a constant difference is tested by its number of images."""
    assert t_test([0.1], [0.4]).p == 1.0
    noise = t_test([0.1 + 0.2, 0.5, 0.7], [0.3, 0.5, 0.7])
    (model,) = facts.models
    assert (noise.difference, noise.p, pair_verdict(Pair(model, model, noise, noise.p))) == (0.0, 1.0, "level")
    constant = t_test([0.1, 0.2, 0.3] * 4, [0.2, 0.3, 0.4] * 4)
    assert constant.p == 2 * 0.5**12 and constant.interval.low == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "exponential"])
def test_schedules_with_a_low_end_suggest_no_more_epochs(facts: Facts, name: ScheduleName) -> None:
    """Where the schedule lowers the learning rate to the end, a loss lowest at the end suggests no more epochs."""
    assert "more epochs" not in sentences.validation_loss(falling(facts, Schedule(name=name)))


@pytest.mark.parametrize("schedule", [None, Schedule(name="constant")])
def test_a_constant_rate_suggests_more_epochs(facts: Facts, schedule: Schedule | None) -> None:
    """With a constant learning rate, a loss lowest at the end suggests more epochs."""
    assert sentences.validation_loss(falling(facts, schedule)).endswith("more epochs may help.")


def falling(facts: Facts, schedule: Schedule | None) -> Classifier:
    """A model with the lowest validation loss at the end."""
    (model,) = facts.classifiers
    params = model.params.model_copy(update={"optimizer": Optimizer(name="adam", schedule=schedule)})
    return replace(model, params=params, history=model.history.assign(val_loss=[0.5, 0.4]))


def test_calibration_sentences_count_the_bins(facts: Facts) -> None:
    """Probabilities of 0.9 with an accuracy of 97.8% lie outside the interval, which the text states in figures."""
    text = sentences.calibration(classifier(facts, "a", range(10)))
    low, high = proportion_confint(440, 450, method="wilson")
    assert "(expected calibration error): 7.78 points." in text and "In 0 of 1 bin, with 0.00% of the images" in text
    assert f"probability of 90.00%, 440 are classified correctly (97.78%, interval {low:.2%} to {high:.2%})" in text
    assert "over all images is 90.00%, below the interval of the test accuracy: underconfident" in text


def test_good_calibration_is_no_promise(facts: Facts) -> None:
    """Probabilities of 0.9 with an accuracy of 90% lie inside the interval; the sentences claim nothing more."""
    text = sentences.calibration(classifier(facts, "a", range(45)))
    assert "In 1 of 1 bin, with 100.00% of the images" in text and "deviation" not in text
    assert text.endswith("is 90.00%, within the interval of the test accuracy.") and "confident" not in text


def test_a_curve_is_drawn_smoothed_or_as_measured(facts: Facts) -> None:
    """With smoothing each quantity has a bold line beside its faint one, without it the measured one alone."""
    (model,) = facts.classifiers
    smoothed, plain = (dict(enumerate(curve_figures(model, factor)))[0][2] for factor in (0.0, 0.9))
    assert [svg.count('stroke-width="1.6"') for svg in (smoothed, plain)] == [2, 2]
    assert [svg.count('stroke-width="2.2"') for svg in (smoothed, plain)] == [2, 0]
    assert [svg.count('opacity="0.5"') for svg in (smoothed, plain)] == [2, 0]


def test_numbers_of_the_costs_do_not_collide(facts: Facts) -> None:
    """The scores of one model, and of two with the same score, have an axis with at least two numbers apart."""
    for shown in (facts.lead, group(facts, a=range(10), b=range(10)), group(facts, a=range(1), b=range(0))):
        texts = re.findall(r'translate\([\d.-]+,([\d.-]+)\)"[^>]*>[\d.]+%<', cost_figure(shown))
        places = sorted(map(float, texts))
        assert len(places) >= 2 and all(after - before >= 10 for before, after in pairwise(places))
