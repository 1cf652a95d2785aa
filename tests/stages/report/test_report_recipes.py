"""Recipes of several seeds: their test, its verdicts, and what the page says of them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from benchmarks.recipe_verdicts import cases
from stages.report.facts import ModelGroup
from stages.report.gather import Folders, gather_facts
from stages.report.report import main
from stages.report.statistics.recipe_tests import recipe_test
from tests.support.html_page import Page
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.tiny_data import expect_error

N = 450  # test images


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with three models of one seed each."""
    models = {"a": (16,), "b": (16,), "c": (16,)}
    return finish_run(tmp_path_factory.mktemp("finished"), small_digits(), models, epochs=2)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy of the run, which the test may change."""
    shutil.copytree(finished.root, tmp_path / "run")
    return Run(tmp_path / "run")


def set_seeds(run: Run, name: str, errors: Sequence[Sequence[int]]) -> None:
    """Makes a model one of as many seeds as `errors` has items, each with errors on these test images.

    The first seed is the exported one.
    """
    seeds = [str(seed) for seed in range(len(errors))]
    params = json.loads((run.root / "params.yaml").read_text())
    params["models"][name]["seeds"] = list(range(len(errors)))
    (run.root / "params.yaml").write_text(json.dumps(params))
    losses = {seed: {"loss": 0.1 + int(seed) / 100, "accuracy": 0.9} for seed in seeds}
    run.edit(f"models/{name}/training.json", seed=0, seeds=losses)
    path = run.root / f"evaluation/{name}/predictions.parquet"
    table = pd.read_parquet(path)
    for seed, wrong in zip(seeds, errors, strict=True):
        table[f"seed_{seed}"] = answers(table["label"].to_numpy(), wrong)
    predicted = table["seed_0"].to_numpy()
    probabilities = np.full((N, 10), 0.1 / 9)
    probabilities[np.arange(N), predicted] = 0.9
    table = table.assign(predicted=predicted, probability=0.9, **{f"p{d}": probabilities[:, d] for d in range(10)})
    table.to_parquet(path)
    count = len(errors[0])
    run.edit(f"evaluation/{name}/metrics.json", errors=count, accuracy=1 - count / N)


def answers(labels: NDArray[np.int32], wrong: Sequence[int]) -> NDArray[np.int32]:
    """Returns the labels, with the next digit for the test images `wrong`."""
    predicted = labels.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 10
    return predicted


def page_text(run: Run) -> str:
    """Returns the text of the section on recipes."""
    page = Page((run.out / "index.html").read_text())
    (text,) = (text for attributes, text in page.every("section") if attributes.get("id") == "recipes")
    return text


def lead(run: Run) -> ModelGroup:
    """Returns the models of the run."""
    return gather_facts(run.params, Folders.of_project(run.root)).lead


def verdicts(run: Run) -> dict[frozenset[str], str]:
    """Returns the verdict on each pair of recipes."""
    return {frozenset((p.weights.first.name, p.weights.second.name)): p.verdict for p in lead(run).recipe_pairs}


def test_one_seed_tells_nothing_about_recipes(run: Run) -> None:
    """With one seed the page says that it cannot tell, however large the difference is."""
    assert main(run.arguments()) == 0
    text = page_text(run)
    assert "Each model was trained with one seed" in text and "cannot be told" in text
    assert "One seed for each model: these are comparisons of weights" in (run.out / "summary.md").read_text()
    set_seeds(run, "a", [range(10)])
    set_seeds(run, "b", [range(200)] * 3)
    assert set(verdicts(run).values()) == {"cannot tell: one seed"}


@pytest.mark.farm
def test_a_difference_is_of_recipes_or_only_of_these_weights(run: Run) -> None:
    """A difference that all seeds share is one of recipes; one of the exported seed alone is not."""
    set_seeds(run, "a", [range(10 + seed) for seed in range(5)])
    set_seeds(run, "b", [range(60 + seed) for seed in range(5)])
    lucky = [range(10), range(70), range(40), range(90), range(20)]
    set_seeds(run, "c", lucky)
    found = verdicts(run)
    assert found[frozenset("ab")] == "a is the better recipe"
    assert found[frozenset("bc")] == "only these weights of c are better"
    assert found[frozenset("ac")] == "cannot tell"
    for pair in lead(run).recipe_pairs:
        assert pair.test and pair.corrected_p is not None
        assert pair.test.shows_difference == (pair.corrected_p < 0.05) == ("recipe" in pair.verdict)
    assert main(run.arguments()) == 0
    text = page_text(run)
    assert "a is the better recipe" in text and "only these weights of c are better" in text
    assert "Recipes, over all seeds: a and b: a is the better recipe (+" in (run.out / "summary.md").read_text()


def test_the_spread_is_that_of_the_seeds(run: Run) -> None:
    """Mean and standard deviation of a recipe are those of the scores of its seeds."""
    errors = [10, 14, 30]
    set_seeds(run, "a", [range(count) for count in errors])
    (model,) = (model for model in lead(run).models if model.name == "a")
    spread = model.score_spread
    assert spread.mean == pytest.approx(1 - np.mean(errors) / N)
    assert spread.deviation == pytest.approx(np.std(errors, ddof=1) / N)


def test_predictions_of_other_seeds_are_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions, training.json and params.yaml have to name the same seeds."""
    set_seeds(run, "a", [range(10), range(12)])
    path = run.root / "evaluation/a/predictions.parquet"
    pd.read_parquet(path).drop(columns="seed_1").to_parquet(path)
    code, error = expect_error(main, run.arguments(), capsys)
    assert code == 2 and "got seed_0, expected seed_0, seed_1" in error
    set_seeds(run, "a", [range(10), range(12)])
    run.edit("models/a/training.json", seeds=None)
    code, error = expect_error(main, run.arguments(), capsys)
    assert code == 2 and "models/a/training.json: seeds" in error


def test_many_images_leave_the_spread_of_the_seeds() -> None:
    """Where the images add no variance, the test is Welch's t test of the seeds' scores."""
    random = np.random.default_rng(0)
    first, second = (np.repeat(random.normal(mean, 1, (seeds, 1)), 50, axis=1) for mean, seeds in ((1, 4), (0, 6)))
    test, oracle = recipe_test(first, second), ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    assert test and test.p == pytest.approx(oracle.pvalue)
    assert tuple(test.interval) == pytest.approx(tuple(oracle.confidence_interval()))


def test_the_same_seeds_twice_leave_the_spread_of_the_images() -> None:
    """What single seeds do on single images is counted once: the variance is that of a draw of images and seeds."""
    random = np.random.default_rng(1)
    share = random.uniform(0, 1, 400)
    differences, variances = [], []
    for _ in range(300):
        first, second = (
            (random.uniform(size=(3, 400)) < share + random.normal(0, 0.1, 400)).astype(float) for _ in range(2)
        )
        test = recipe_test(first, second)
        assert test
        differences.append(test.difference)
        variances.append(test.interval.high - test.difference)
    assert 0.9 < np.mean(np.abs(differences) < variances) <= 1.0


def test_edges() -> None:
    """No difference, a constant one, a single image and a single seed: no verdict without evidence."""
    right, wrong = np.ones((3, 40)), np.zeros((3, 40))
    assert recipe_test(right[:1], wrong) is None
    same, constant = recipe_test(right, right), recipe_test(right, wrong)
    single = recipe_test(right[:, :1], wrong[:, :1])
    assert same and (same.p, tuple(same.interval), same.shows_difference) == (1.0, (0.0, 0.0), False)
    assert constant and constant.shows_difference and constant.p == 2 * 0.5**40
    assert single and not single.shows_difference and single.p == 1.0


def test_verdicts_on_simulated_recipes() -> None:
    """Of 25 pairs that differ in name only nearly none has a verdict; of 25 with 0.3 points most have the right one.

    `python -m benchmarks.recipe_verdicts` simulates more; docs/report.md has its figures.
    """
    same, better = ([case.test for case in cases(25, 5, difference)] for difference in (0.0, 0.003))
    assert sum(test.shows_difference for test in same if test) <= 3
    assert sum(test.interval.low > 0 for test in better if test) >= 17
    assert not any(test.interval.high < 0 for test in better if test)
