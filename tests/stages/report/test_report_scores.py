"""Scores, duplicates and galleries, compared with independent oracles and cases calculated by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from stages.report import report
from stages.report.config import Report
from stages.report.data_card import find_duplicates, pixel_statistics
from stages.report.facts import Facts
from stages.report.gather import Folders, gather_facts
from stages.report.models.regressor import Regressor
from stages.report.page.example_images import disagreement, doubtful_labels, images_by_cell
from stages.report.statistics.scores import expected_calibration_error, reliability, score
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run


@pytest.fixture(scope="module")
def facts(finished: Run) -> Facts:
    """The facts of digits and three models."""
    return gather_facts(finished.params, Folders.of_project(finished.root))


def test_brier_score_by_hand() -> None:
    """Sum over the classes of squared distances, mean over the images; 0 is perfect and 2 the worst."""
    labels, predicted = np.array([0, 1]), np.array([0, 0])
    scores = score(labels, predicted, np.array([[0.8, 0.2, 0.0], [0.5, 0.3, 0.2]]))
    assert scores.brier == pytest.approx((0.04 + 0.04 + 0.25 + 0.49 + 0.04) / 2)
    assert score(labels, np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]])).brier == 2.0


def test_brier_score_of_two_classes_by_hand() -> None:
    """With two classes it is the same sum, 0 to 2, also where the test part has one class only."""
    both = score(np.array([0, 1]), np.array([0, 0]), np.array([[0.8, 0.2], [0.6, 0.4]]))
    assert both.brier == pytest.approx((0.04 + 0.04 + 0.36 + 0.36) / 2)
    one = score(np.array([1, 1]), np.array([1, 1]), np.array([[0.2, 0.8], [0.4, 0.6]]))
    assert one.brier == pytest.approx((0.04 + 0.04 + 0.16 + 0.16) / 2)


def test_calibration_error_by_hand() -> None:
    """Two bins: three images at 0.9, two of them correct; one at 0.5, correct. Bins are (low, high]."""
    bins = reliability(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True]), bins=10)
    assert bins["images"].tolist() == [1, 3]
    assert bins["low"].tolist() == pytest.approx([0.4, 0.8])
    assert expected_calibration_error(bins) == pytest.approx((0.5 * 1 + abs(0.9 - 2 / 3) * 3) / 4)


@pytest.mark.farm
@given(st.lists(st.tuples(st.floats(0.1, 1), st.booleans()), min_size=1, max_size=200))
def test_bins_are_scikit_learns(answers: list[tuple[float, bool]]) -> None:
    """Accuracy and mean confidence of each bin are those of scikit-learn's calibration curve."""
    confidence, correct = (np.array(column) for column in zip(*answers, strict=True))
    accuracies, confidences = calibration_curve(correct, confidence, n_bins=15)
    bins = reliability(confidence, correct)
    np.testing.assert_allclose(bins["accuracy"], accuracies)
    np.testing.assert_allclose(bins["confidence"], confidences)
    assert bins["images"].sum() == len(answers)
    assert ((bins["low95"] <= bins["accuracy"]) & (bins["accuracy"] <= bins["high95"])).all()


def test_bins_have_wilsons_interval() -> None:
    """Each bin's interval is Wilson's of its own images."""
    bins = reliability(np.array([0.95] * 10 + [0.5]), np.array([True] * 9 + [False, False]), bins=10)
    few, many = (proportion_confint(k, n, method="wilson") for k, n in ((0, 1), (9, 10)))
    np.testing.assert_allclose(bins[["low95", "high95"]].to_numpy(), [few, many], atol=1e-9)


def test_scores_of_each_class_by_hand() -> None:
    """3 classes, one of them never predicted: precision, recall and F1 are fractions of counts, 0 without images."""
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    scores = score(labels, predicted, np.eye(3)[predicted])
    assert scores.classes["precision"].tolist() == pytest.approx([2 / 4, 1 / 2, 0])
    assert scores.classes["recall"].tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert scores.classes["support"].tolist() == [3, 2, 1]
    assert scores.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    assert scores.calibration_error == pytest.approx(1 / 2) and scores.confidence == 1.0


def test_probability_1_has_a_bin() -> None:
    """Probability 1 falls in the last bin, and without errors it has a calibration error of 0."""
    bins = reliability(np.array([1.0, 1.0]), np.array([True, True]))
    assert expected_calibration_error(bins) == 0.0 and bins["high"].tolist() == [1.0]


def test_log_loss_is_scikit_learns(facts: Facts) -> None:
    """The loss of the evaluation is the mean cross-entropy."""
    for model in facts.classifiers:
        expected = log_loss(model.labels, np.clip(model.probabilities, 1e-7, 1), labels=range(10))
        assert model.evaluation.loss == pytest.approx(expected, abs=1e-5)


def test_duplicates_are_found_exactly() -> None:
    """Copies are found with their labels; an image that differs in one pixel is no duplicate."""
    digits = small_digits()
    x_test, y_test = digits.x_test.copy(), digits.y_test.copy()
    x_test[5], x_test[7], x_test[9] = digits.x_train[3], digits.x_train[4], digits.x_train[6]
    y_test[5], y_test[7] = digits.y_train[3], (digits.y_train[4] + 1) % 10
    x_test[9, 0, 0] ^= 1
    before = find_duplicates(digits)
    after = find_duplicates(digits._replace(x_test=x_test, y_test=y_test))
    assert set(after.shared) - set(before.shared) == {(5, 3), (7, 4)}
    assert after.conflicting == before.conflicting + 1


@pytest.mark.parametrize("kind", ["uint8", "float16", "float64"])
def test_pixel_statistics_are_numpys(kind: str) -> None:
    """Mean, deviation, minimum, maximum and share of black pixels are those of NumPy in float64."""
    images = small_digits().x_train.astype(kind)
    statistics, exact = pixel_statistics(images), images.astype(np.float64)
    assert (statistics.mean, statistics.deviation) == pytest.approx((exact.mean(), exact.std()))
    assert (statistics.minimum, statistics.maximum) == (images.min(), images.max())
    assert statistics.black == np.mean(images == 0)


def test_galleries_have_the_right_images(facts: Facts) -> None:
    """Worst errors are sorted by loss; errors of one model only are correct in the other; cells have their images."""
    best, *_, model = facts.classifiers
    worst = [answer.index for answer in model.worst_errors(12)]
    losses = model.predictions["loss"][worst].tolist()
    assert losses == sorted(losses, reverse=True) and not model.correct[worst].any()
    images = disagreement(facts.lead.against_best[-1])
    assert (images.pair.first, images.pair.second) == (best, model)
    assert images.only_second and all(best.correct[a.index] and not model.correct[a.index] for a in images.only_second)
    assert images.only_first and all(model.correct[a.index] and not best.correct[a.index] for a in images.only_first)
    for name, indexes in images_by_cell(model).items():
        assert {f"{model.labels[index]}-{model.predicted[index]}" for index in indexes} == {name}


def test_a_wrong_label_is_doubtful(tmp_path: Path) -> None:
    """A label that is changed where all models are right is in the gallery of doubtful labels."""
    digits = small_digits()
    first = finish_run(tmp_path / "first", digits, {"dense": (64,), "cnn": (64, 32)}, epochs=8)
    models = gather_facts(first.params, Folders.of_project(first.root)).classifiers
    confident = np.logical_and.reduce([m.correct & (m.probabilities.max(axis=1) > 0.9) for m in models])
    changed = int(np.flatnonzero(confident)[0])
    labels = digits.y_test.copy()
    labels[changed] = (labels[changed] + 1) % 10
    wrong = digits._replace(y_test=labels)
    second = finish_run(tmp_path / "second", wrong, {"dense": (64,), "cnn": (64, 32)}, epochs=8)
    answers = doubtful_labels(gather_facts(second.params, Folders.of_project(second.root)).classifiers)
    assert changed in [answer.index for answer in answers]


def test_values_are_ranked_and_compared(tmp_path: Path) -> None:
    """Regressions are ranked by mean absolute error, and a clear difference is significant as in Wilcoxon's test."""
    run = shaped_run(tmp_path, 3, 10, "regression")
    facts = gather_facts(run.params, Folders.of_project(run.root))
    assert len(facts.groups) == 1 and not facts.classifiers
    assert [model.name for model in facts.models] == ["model_00", "model_01", "model_02"]
    first, second = facts.models[:2]
    assert isinstance(first, Regressor) and isinstance(second, Regressor)
    assert tuple(first.interval) == pytest.approx(DescrStatsW(first.absolute_errors).tconfint_mean())
    values, targets = first.values.astype(float), first.labels.astype(float)
    residuals, deviations = values - targets, targets - targets.mean()
    root, r2 = first.test_metrics["root_mean_squared_error"], first.test_metrics["r2"]
    assert root == pytest.approx(np.sqrt(np.mean(residuals**2)))
    assert r2 == pytest.approx(1 - np.sum(residuals**2) / np.sum(deviations**2))
    assert facts.lead.pairs[0].significant and wilcoxon(first.absolute_errors, second.absolute_errors).pvalue < 0.001
    assert report.main(run.arguments()) == 0
    summary = (run.out / "summary.md").read_text()
    assert "Mean absolute error" in summary and "| R² | Epochs |" in summary
    interval = f"95% interval {first.interval.low:.4g} to {first.interval.high:.4g}"
    card = f"Mean absolute error {first.score:.4g}; {interval}; Root mean squared error {root:.4g}; R² {r2:.4f}"
    assert card in (run.out / "index.html").read_text()


def test_values_of_another_scale_are_not_compared(tmp_path: Path) -> None:
    """Models that predict other numbers for the same labels have a table and a verdict of their own."""
    run = shaped_run(tmp_path, 3, 10, "regression")
    settings = json.loads((tmp_path / "params.yaml").read_text())["models"]
    settings["model_02"]["values"] = [number / 10 for number in range(10)]
    run.edit("params.yaml", models=settings)
    table = tmp_path / "evaluation/model_02/predictions.parquet"
    (pd.read_parquet(table).assign(target=lambda rows: rows["target"] / 10)).to_parquet(table)
    groups = gather_facts(run.params, Folders.of_project(run.root)).groups
    assert sorted(sorted(model.name for model in group.models) for group in groups) == [
        ["model_00", "model_01"],
        ["model_02"],
    ]
    assert report.main(run.arguments()) == 0
    assert (run.out / "summary.md").read_text().count("Mean absolute error") == 2


def test_metrics_for_programs_agree(tmp_path: Path) -> None:
    """CSV, JSON and Parquet hold the same numbers; models.json holds numbers alone, for `dvc metrics diff`."""
    run: Run = shaped_run(tmp_path, 2, 4)
    assert report.main(run.arguments()) == 0
    csv = pd.read_csv(run.out / "metrics.csv", index_col="model")
    parquet = pd.read_parquet(run.out / "metrics.parquet").set_index("model")
    for name, numbers in json.loads((run.out / "models.json").read_text()).items():
        for key, number in numbers.items():
            assert csv.loc[name, key] == parquet.loc[name, key] == pytest.approx(number)
    assert isinstance(run.params.report, Report)
