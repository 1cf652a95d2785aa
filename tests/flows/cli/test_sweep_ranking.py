"""The table of a sweep: few columns, the validation part first, trials in its order."""

import json
import math
from pathlib import Path

import pytest

from flows.cli.output import print_json
from flows.cli.sweeps.sweep import columns, print_grid, rank
from flows.cli.sweeps.table import print_trials
from flows.experiments.grid import parse_combinations
from flows.experiments.trials import Trial
from tests.support.root import ROOT


def trials(count: int) -> list[Trial]:
    """Trials with the batch sizes 1, 2, ..."""
    sizes = ",".join(map(str, range(1, count + 1)))
    return [Trial(each, each.name) for each in parse_combinations([f"a={sizes}"], [], None)]


def names(found: list[Trial]) -> list[object]:
    """The batch sizes of trials."""
    return [trial.combination.settings["a"] for trial in found]


def test_trials_are_ranked_by_validation_loss_not_by_the_test_score() -> None:
    """The lowest validation loss is first, whatever the test score says; a trial without one is last."""
    flat: list[dict[str, float]] = [
        {"accuracy": 0.99, "validation_loss": 0.3},
        {},
        {"accuracy": 0.97, "validation_loss": 0.1},
        {"accuracy": 0.98, "validation_loss": 0.2},
    ]
    found, criterion = rank(flat, trials(4))
    assert (names(found), criterion) == ([3, 4, 1, 2], "validation_loss")


def test_trials_without_metrics_do_not_decide_which_metrics_differ() -> None:
    """A failed trial removes no ranking of a project with several models, of which the sweep changes one."""
    flat = [
        {},
        {"dense.validation_loss": 0.3, "cnn.validation_loss": 0.05, "dense.test_loss": 0.2},
        {"dense.validation_loss": 0.1, "cnn.validation_loss": 0.05, "dense.test_loss": 0.4},
    ]
    assert columns(flat) == columns(flat[1:]) == ["dense.validation_loss", "dense.test_loss"]
    found, criterion = rank(flat, trials(3))
    assert (names(found), criterion) == ([3, 2, 1], "dense.validation_loss")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_training_that_diverged_is_never_the_best(bad: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials whose loss is not finite are last in their order, wherever they stand; if all are so, none is the best."""
    flat = [{"validation_loss": loss} for loss in (bad, 0.3, bad, 0.1, 0.2)]
    found, criterion = rank(flat, trials(5))
    assert (names(found), criterion) == ([4, 5, 2, 1, 3], "validation_loss")
    assert rank([{"validation_loss": bad}] * 2, trials(2))[1] is None
    print_trials(trials(2), trials(2), dict(enumerate([flat[3], flat[0]])), columns(flat), criterion)
    assert f"+{bad}" not in capsys.readouterr().out


def test_json_has_no_number_that_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    """What no JSON can hold is null, so that every program can read the rest."""
    print_json({"a": [math.nan, 1.5], "b": {"c": -math.inf}, "d": (math.inf, True)})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": [None, 1.5], "b": {"c": None}, "d": [None, True],
    }  # fmt: skip


@pytest.mark.parametrize("key", ["models.dense.loss", "conf.yaml:loss", "models.mine.arguments.penalty"])
def test_different_loss_functions_are_ranked_by_accuracy(key: str) -> None:
    """In a sweep over loss functions the highest validation accuracy is first: the values of the losses do not rank."""
    combinations = parse_combinations([f"{key}=poisson,mean_squared_error"], [], None)
    flat = [{"validation_loss": 0.1, "validation_accuracy": 0.9}, {"validation_loss": 0.2, "validation_accuracy": 0.95}]
    found, criterion = rank(flat, [Trial(each, each.name) for each in combinations])
    assert found[0].combination.settings[key] == "mean_squared_error"
    assert criterion == "validation_accuracy"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["prepare.validation=0.1", "prepare.validation=0.3"], ["prepare.validation"]),
        (["dataset=digits models.a.values=[0]", "models.a.values=[0]"], ["dataset"]),  # the second has the present one
        (["prepare.seed=1 models.a.units=[8]", "prepare.seed=1 models.a.units=[9]"], []),
    ],
)
def test_trials_of_different_validation_samples(
    lines: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the validation samples differ between trials, no score ranks them, and a sentence names the keys."""
    found = [Trial(each, each.name) for each in parse_combinations([], lines, None)]
    for trial, loss in zip(found, (0.2, 0.1), strict=True):
        trial.metrics = {"validation.json": {"validation_loss": loss}}
    for root, differing in ((ROOT, expected), (tmp_path, [])):  # of another form: nothing is known of its keys
        print_grid(found, root, as_json=True)
        printed = json.loads(capsys.readouterr().out)
        losses = [trial["metrics"]["validation.json"]["validation_loss"] for trial in printed["trials"]]
        assert (printed["ranked_by"], losses) == ((None, [0.2, 0.1]) if differing else ("validation_loss", [0.1, 0.2]))
        print_grid(found, root, as_json=False)
        text = " ".join(capsys.readouterr().out.split())
        assert ("which chooses" in text) == (not differing)
        assert (f"cannot be compared, and trials differ in {', '.join(differing)}" in text) == bool(differing)


def test_negated_losses_are_ranked_from_the_highest() -> None:
    """scikit-learn's neg_log_loss and neg_mean_squared_error are better when they are higher."""
    for name, keys in (("validation_neg_log_loss", "a"), ("validation_neg_mean_squared_error", "fit.loss")):
        combinations = parse_combinations([f"{keys}=1,2,3"], [], None)
        found, criterion = rank([{name: score} for score in (-0.3, -0.1, -0.2)],
                                [Trial(each, each.name) for each in combinations])  # fmt: skip
        assert [trial.combination.settings[keys] for trial in found] == [2, 3, 1]
        assert criterion == name


def test_without_one_validation_loss_the_order_stays() -> None:
    """Test scores never rank, nor do the validation losses of several models or an equal one."""
    tests = [{"accuracy": 0.9, "test_loss": 0.3}, {"accuracy": 0.99, "test_loss": 0.1}]
    losses = ((0.3, 0.1), (0.2, 0.4))
    several = [{"a.validation_loss": first, "b.validation_loss": second} for first, second in losses]
    empty: list[dict[str, float]] = [{}, {}]
    for flat in (tests, several, empty):
        found, criterion = rank(flat, trials(2))
        assert (names(found), criterion) == ([1, 2], None)


def test_few_columns_with_the_validation_part_first() -> None:
    """Columns that are equal in all trials or repeat another one are left out; `evaluation` is no validation."""
    flat = [
        {"evaluation:accuracy": 0.9, "samples": 10, "m:validation_loss": 0.2, "dense.validation_loss": 0.2},
        {"evaluation:accuracy": 0.8, "samples": 10, "m:validation_loss": 0.1, "dense.validation_loss": 0.1},
    ]
    assert columns(flat) == ["m:validation_loss", "evaluation:accuracy"]
    assert rank(flat, trials(2))[1] == "m:validation_loss"
    assert columns(flat[:1]) == ["m:validation_loss", "evaluation:accuracy", "samples"]


def test_lists_of_seeds_are_combinations(tmp_path: Path) -> None:
    """A sweep takes lists of seeds as values: each list is one combination."""
    file = tmp_path / "combinations.txt"
    file.write_text("models.dense.seeds=[0,1]\nmodels.dense.seeds=[0,1,2]\n")
    found = [dict(each.settings) for each in parse_combinations([], [], file)]
    assert found == [{"models.dense.seeds": [0, 1]}, {"models.dense.seeds": [0, 1, 2]}]
    grid = parse_combinations(["models.dense.seeds=[0,1],[0,1,2]"], [], None)
    assert [dict(each.settings) for each in grid] == found
