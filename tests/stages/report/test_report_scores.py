"""The report's scores, duplicates and galleries against independent oracles and hand-worked cases."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from stages.report import report
from stages.report.config import Report
from stages.report.data_card import find_duplicates, pixel_facts
from stages.report.facts import Facts, Folders, gather_facts
from stages.report.page.example_images import cells, disagreement, doubtful_labels, worst
from stages.report.statistics.scores import expected_calibration_error, reliability, score
from tests.support.report_data import HIDDEN, Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run

UNHURRIED = settings(deadline=None)  # a loaded machine is no error


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """The facts of digits and three models."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), HIDDEN)
    return gather_facts(run.params, Folders.below(run.root))


def test_brier_score_by_hand() -> None:
    """Sum over the classes of squared distances, mean over the images; 0 is perfect and 2 the worst."""
    labels, said = np.array([0, 1]), np.array([0, 0])
    found = score(labels, said, np.array([[0.8, 0.2, 0.0], [0.5, 0.3, 0.2]]))
    assert found.brier == pytest.approx((0.04 + 0.04 + 0.25 + 0.49 + 0.04) / 2)
    assert score(labels, np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]])).brier == 2.0


def test_brier_score_of_two_classes_by_hand() -> None:
    """With two classes it is the same sum, 0 to 2, also where the test part has only one of them."""
    both = score(np.array([0, 1]), np.array([0, 0]), np.array([[0.8, 0.2], [0.6, 0.4]]))
    assert both.brier == pytest.approx((0.04 + 0.04 + 0.36 + 0.36) / 2)
    one = score(np.array([1, 1]), np.array([1, 1]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    assert one.brier == pytest.approx((0.04 + 0.04 + 0.16 + 0.16) / 2)


def test_calibration_error_by_hand() -> None:
    """Two bins: three images at 0.9, of which two right; one at 0.5, right. Bins are (low, high]."""
    bins = reliability(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True]), bins=10)
    assert bins["images"].tolist() == [1, 3]
    assert bins["low"].tolist() == pytest.approx([0.4, 0.8])
    assert expected_calibration_error(bins) == pytest.approx((0.5 * 1 + abs(0.9 - 2 / 3) * 3) / 4)


@UNHURRIED
@given(st.lists(st.tuples(st.floats(0.1, 1), st.booleans()), min_size=1, max_size=200))
def test_bins_are_scikit_learns(answers: list[tuple[float, bool]]) -> None:
    """Share right and mean confidence of each bin are those of scikit-learn's calibration curve."""
    confidence, right = np.array([sure for sure, _ in answers]), np.array([good for _, good in answers])
    true, said = calibration_curve(right, confidence, n_bins=15)
    bins = reliability(confidence, right)
    np.testing.assert_allclose(bins["accuracy"], true)
    np.testing.assert_allclose(bins["confidence"], said)
    assert bins["images"].sum() == len(answers)
    assert ((bins["low95"] <= bins["accuracy"]) & (bins["accuracy"] <= bins["high95"])).all()


def test_bins_carry_wilsons_interval() -> None:
    """Each bin's interval is Wilson's of its own images."""
    bins = reliability(np.array([0.95] * 10 + [0.5]), np.array([True] * 9 + [False, False]), bins=10)
    few, many = (proportion_confint(k, n, method="wilson") for k, n in ((0, 1), (9, 10)))
    np.testing.assert_allclose(bins[["low95", "high95"]].to_numpy(), [few, many], atol=1e-9)


def test_scores_of_each_class_by_hand() -> None:
    """3 classes, of which one is never read: precision, recall and F1 are fractions of counts, 0 where nothing was."""
    labels, said = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    found = score(labels, said, np.eye(3)[said])
    assert found.classes["precision"].tolist() == pytest.approx([2 / 4, 1 / 2, 0])
    assert found.classes["recall"].tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert found.classes["support"].tolist() == [3, 2, 1]
    assert found.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    assert found.calibration_error == pytest.approx(1 / 2) and found.confidence == 1.0


def test_a_certain_answer_has_a_bin() -> None:
    """Probability 1 falls in the last bin, and all right at 1 is no error at all."""
    bins = reliability(np.array([1.0, 1.0]), np.array([True, True]))
    assert expected_calibration_error(bins) == 0.0 and bins["high"].tolist() == [1.0]


def test_log_loss_is_scikit_learns(facts: Facts) -> None:
    """The loss that the examination wrote is the mean cross-entropy."""
    for model in facts.classifiers:
        expected = log_loss(model.labels, np.clip(model.probabilities, 1e-7, 1), labels=range(10))
        assert model.exam.loss == pytest.approx(expected, abs=1e-5)


def test_duplicates_are_found_exactly() -> None:
    """Planted copies are found with their labels; a single other pixel makes no duplicate."""
    digits = small_digits()
    x_test, y_test = digits.x_test.copy(), digits.y_test.copy()
    x_test[5], x_test[7], x_test[9] = digits.x_train[3], digits.x_train[4], digits.x_train[6]
    y_test[5], y_test[7] = digits.y_train[3], (digits.y_train[4] + 1) % 10
    x_test[9, 0, 0] ^= 1
    clean = find_duplicates(digits)
    found = find_duplicates(digits._replace(x_test=x_test, y_test=y_test))
    assert set(found.shared) - set(clean.shared) == {(5, 3), (7, 4)}
    assert found.conflicting == clean.conflicting + 1


def test_pixel_facts_are_numpys() -> None:
    """Mean and deviation of all pixels."""
    images = small_digits().x_train
    found = pixel_facts(images)
    assert (found.mean, found.deviation) == pytest.approx((images.mean(), images.std()))
    assert (found.least, found.most, found.empty) == (images.min(), images.max(), np.mean(images == 0))


def test_galleries_hold_what_they_say(facts: Facts) -> None:
    """Worst errors fall in loss; errors of one model alone are the other's right answers; cells hold their own."""
    group = facts.groups[0]
    model = group.models[-1]
    losses = [answer.loss or 0 for answer in worst(model)]
    assert losses == sorted(losses, reverse=True) and not any(model.right[answer.index] for answer in worst(model))
    best = group.best
    seen = disagreement(group, group.against_best[model.name])
    assert all(best.right[answer.index] and not model.right[answer.index] for answer in seen.only_second)
    assert all(model.right[answer.index] and not best.right[answer.index] for answer in seen.only_first)
    for name, indexes in cells(model).items():
        assert {f"{model.labels[index]}-{model.predicted[index]}" for index in indexes} == {name}


def test_a_wrong_label_is_doubted(tmp_path: Path) -> None:
    """Of labels turned on purpose where all models are right, those stand in the gallery that all agree on."""
    digits = small_digits()
    first = finish_run(tmp_path / "first", digits, {"dense": (64,), "cnn": (64, 32)}, epochs=8)
    models = gather_facts(first.params, Folders.below(first.root)).groups[0].models
    sure = np.logical_and.reduce([m.right & (m.probabilities.max(axis=1) > 0.9) for m in models])
    turned = int(np.flatnonzero(sure)[0])
    labels = digits.y_test.copy()
    labels[turned] = (labels[turned] + 1) % 10
    wrong = digits._replace(y_test=labels)
    second = finish_run(tmp_path / "second", wrong, {"dense": (64,), "cnn": (64, 32)}, epochs=8)
    found = doubtful_labels(gather_facts(second.params, Folders.below(second.root)).groups[0])
    assert turned in [answer.index for answer in found]


def test_values_are_ranked_and_compared(tmp_path: Path) -> None:
    """Models of values are ranked by mean absolute error, and a clear difference is shown as Wilcoxon's test does."""
    run = shaped_run(tmp_path, 3, 10, "regression")
    facts = gather_facts(run.params, Folders.below(run.root))
    assert len(facts.values) == 1 and not facts.groups
    assert [model.name for model in facts.models] == ["model_00", "model_01", "model_02"]
    first, second = facts.values[0].models[:2]
    assert tuple(first.interval) == pytest.approx(DescrStatsW(first.misses).tconfint_mean())
    said, true = first.values.astype(float), first.labels.astype(float)
    residuals, spread = said - true, true - true.mean()
    assert first.root_error == pytest.approx(np.sqrt(np.mean(residuals**2)))
    assert first.explained == pytest.approx(1 - np.sum(residuals**2) / np.sum(spread**2))
    assert facts.values[0].pairs[0].shown and wilcoxon(first.misses, second.misses).pvalue < 0.001
    assert report.main(run.arguments()) == 0
    summary = (run.out / "summary.md").read_text()
    assert "Mean absolute error" in summary and "| R² | Epochs |" in summary
    interval = f"{first.interval.low:.4g} to {first.interval.high:.4g}"
    card = f"mean absolute error {first.mean_error:.4g} (95% interval {interval}), root mean square"
    assert f"{card} {first.root_error:.4g}, R² {first.explained:.4f}" in (run.out / "index.html").read_text()


def test_values_of_another_scale_are_not_compared(tmp_path: Path) -> None:
    """Models that predict other numbers for the same labels stand in tables of their own, each with its verdict."""
    run = shaped_run(tmp_path, 3, 10, "regression")
    settings = json.loads((tmp_path / "params.yaml").read_text())["models"]
    settings["model_02"]["values"] = [number / 10 for number in range(10)]
    run.edit("params.yaml", models=settings)
    table = tmp_path / "evaluation/model_02/predictions.parquet"
    (pd.read_parquet(table).assign(target=lambda rows: rows["target"] / 10)).to_parquet(table)
    groups = gather_facts(run.params, Folders.below(run.root)).values
    assert sorted(sorted(model.name for model in group.models) for group in groups) == [
        ["model_00", "model_01"],
        ["model_02"],
    ]
    assert report.main(run.arguments()) == 0
    assert (run.out / "summary.md").read_text().count("Mean absolute error") == 2


def test_metrics_for_programs_agree(tmp_path: Path) -> None:
    """CSV, JSON and Parquet hold the same numbers; JSON holds numbers alone, for `dvc metrics diff`."""
    run: Run = shaped_run(tmp_path, 2, 4)
    assert report.main(run.arguments()) == 0
    csv = pd.read_csv(run.out / "metrics.csv", index_col="model")
    parquet = pd.read_parquet(run.out / "metrics.parquet").set_index("model")
    for name, numbers in json.loads((run.out / "metrics.json").read_text()).items():
        for key, number in numbers.items():
            assert csv.loc[name, key] == parquet.loc[name, key] == pytest.approx(number)
    assert isinstance(run.params.report, Report)
