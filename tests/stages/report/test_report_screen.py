"""The first screen: its axis, the trivial answer, the pills, the cheapest leader, and figures of each kind of task."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from stages.report import report
from stages.report.facts import Facts
from stages.report.gates import check_models
from stages.report.gather import Folders, gather_facts
from stages.report.models.model_facts import UNKNOWN, ModelFacts
from stages.report.page.axis import Axis, axis_of
from stages.report.page.page import class_codes
from stages.report.page.screen import cheapest, failures, gate_counts, has_diverged, screen
from stages.report.statistics.many_classes import arranged, clustered_order, worst_recalls
from stages.report.statistics.residuals import by_value, shares_within
from stages.report.statistics.thresholds import thresholds
from tests.support.html_page import Page
from tests.support.report_data import Run
from tests.support.report_shapes import shaped_run

CLASS_WORDS = re.compile(r"\bclass(?:es|ify|ified|ifier)?\b|accurac|confus|misclass", re.IGNORECASE)


def facts_of(run: Run) -> Facts:
    """Returns the facts of a run."""
    return gather_facts(run.params, Folders.of_project(run.root))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs of four models and ten classes, and of three regressions; read-only."""
    folder = tmp_path_factory.mktemp("shapes")
    return {
        "classes": shaped_run(folder / "classes", 4, 10),
        "values": shaped_run(folder / "values", 3, 10, "regression"),
    }


def test_axis_is_logarithmic_from_a_factor_of_five() -> None:
    """Accuracies and errors keep their order on both scales; the ends lie inside, numbers do not collide."""
    for axis in (Axis(0.01, 0.04, False, True), Axis(0.005, 0.3, True, True), Axis(0.5, 2.0, False, False)):
        scores = [1 - axis.low, 1 - axis.high] if axis.of_shares else [axis.low, axis.high]
        places = [axis.position(score) for score in scores]
        assert sorted(places) == [4, 96] and (places[0] > places[1]) == axis.of_shares
        shown = [tick.place for tick in axis.ticks]
        assert len(shown) >= 2 and all(after - before >= 11 for before, after in itertools.pairwise(shown))
    ticks = Axis(0.005, 0.3, True, True).ticks
    assert [tick.text for tick in ticks] == ["80%", "90%", "95%", "98%", "99%", "99.5%"]
    assert [tick.text for tick in ticks if tick.on_phone] == ["80%", "95%", "99%"]
    assert not Axis(0.01, 0.04, False, True).contains(0.5)


def test_axis_is_cropped_to_the_models_and_close_limits(shapes: dict[str, Run]) -> None:
    """The axis holds all intervals; a limit close to them widens it, one far away does not."""
    group = facts_of(shapes["classes"]).lead
    low = min(model.interval.low for model in group.models)
    plain, wider, same = axis_of(group), axis_of(group, [low - 0.01]), axis_of(group, [0.1])
    assert all(plain.contains(end) for model in group.models for end in model.interval)
    assert wider.high == pytest.approx(1 - low + 0.01) and same == plain


def test_a_perfect_model_has_a_place(tmp_path: Path) -> None:
    """A model without an error lies on a logarithmic axis too."""
    run = shaped_run(tmp_path, 3, 10)
    group = facts_of(run).lead
    best = group.models[0]
    perfect = best.predictions.assign(predicted=best.predictions["label"])
    perfect_model = replace(best, predictions=perfect, evaluation=best.evaluation.model_copy(update={"accuracy": 1.0}))  # type: ignore[call-arg,attr-defined]
    axis = axis_of(replace(group, models=(perfect_model, *group.models[1:])))
    assert axis.logarithmic and axis.contains(1.0)


def test_trivial_answer_is_that_of_the_training_labels(shapes: dict[str, Run]) -> None:
    """The most frequent training class with its errors, or the mean training value with its mean absolute error."""
    for name, run in shapes.items():
        facts = facts_of(run)
        train, test = facts.data.arrays.y_train.astype(int), facts.data.arrays.y_test.astype(int)
        shown = screen(facts.lead, facts.data, None, None)
        trivial = facts.lead.trivial
        assert shown.trivial is trivial
        if name == "classes":
            common = np.bincount(train).argmax()
            assert trivial.label == f"always class {common}"
            assert shown.trivial_figures[1] == str((test != common).sum())
            assert trivial.score == pytest.approx((test == common).mean())
        else:
            assert trivial.label == f"the mean {train.mean():.4g}" and shown.trivial_figures[1] == UNKNOWN
            assert trivial.score == pytest.approx(np.abs(test - train.mean()).mean())


def test_equal_to_the_trivial_answer_is_not_worse(shapes: dict[str, Run]) -> None:
    """A model with the score of the trivial answer is not worse than it; one with a larger error is."""
    group = facts_of(shapes["classes"]).lead
    for difference, expected in ((0.0, False), (0.01, True), (-0.01, False)):
        score = {"accuracy": group.trivial.score - difference}
        evaluation = group.best.evaluation.model_copy(update=score)  # type: ignore[attr-defined]
        assert group.trivial.is_better_than(replace(group.best, evaluation=evaluation)) == expected  # type: ignore[call-arg]
    group = facts_of(shapes["values"]).lead
    for value, expected in ((group.trivial.constant, False), (9.0, True)):
        predictions = group.best.predictions.assign(value=value)
        assert group.trivial.is_better_than(replace(group.best, predictions=predictions)) == expected


@pytest.mark.farm
def test_tables_of_models_end_with_the_trivial_answer(shapes: dict[str, Run]) -> None:
    """Page and summary have the trivial answer with its score and interval below the models."""
    for run in shapes.values():
        group = facts_of(run).lead
        assert report.main(run.arguments()) == 0
        rows = [text for _, text in Page((run.out / "index.html").read_text()).every("tr")]
        form, trivial = group.best.format_score, group.trivial
        figures = f"{form(trivial.score)} {' to '.join(map(form, trivial.interval))}"
        assert rows.count(f"trivial answer: {trivial.answer} {figures}") == 1
        (line,) = [line for line in (run.out / "summary.md").read_text().splitlines() if "trivial answer" in line]
        assert line.split("|")[1].strip() == f"trivial answer: {trivial.answer}"
        assert [text for cell in line.split("|")[2:] if (text := cell.strip())] == [
            form(trivial.score),
            " to ".join(map(form, trivial.interval)),
        ]


@pytest.mark.farm
def test_parameters_are_listed_once(shapes: dict[str, Run]) -> None:
    """The tab of the parameters has each parameter of a model once."""
    run = shapes["classes"]
    assert report.main(run.arguments()) == 0
    page = Page((run.out / "index.html").read_text())
    names = [text for _, text in page.every("code") if text == "batch_size"]
    assert len(names) == len(run.params.models)


@pytest.mark.farm
def test_only_failed_gates_and_worse_than_trivial_are_red(tmp_path: Path) -> None:
    """A model that fails a gate or is worse than the trivial answer has a mark; the bar counts the gates."""
    run = shaped_run(tmp_path, 3, 10)
    run.edit("params.yaml", gates={"every": {"lower_bound": 0.9}, "models": {"model_02": {"lower_bound": 0.5}}})
    facts = facts_of(run)
    results = check_models(facts, run.params.gates)
    rows = {row.model.name: row for row in screen(facts.lead, facts.data, results, run.params.gates).rows}
    failed = {check.model for check in results.checks if check.status == "failed"}
    assert {name for name, row in rows.items() if row.failed} == failed
    assert rows["model_00"].limit == 0.9 and rows["model_02"].limit == 0.5
    assert not any(row.worse for row in rows.values())
    counts = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) not judged", gate_counts(results))
    assert counts and [int(text) for text in counts.groups()] == list(results.counts.values())
    assert sum(results.counts.values()) == len(results.checks) and results.counts["failed"] == len(results.failed)
    assert report.main(run.arguments()) == 0
    page = Page((run.out / "index.html").read_text())
    assert [text for attributes, text in page.every("a", css="pill") if attributes["href"] == "#gates"] == [
        f"gates: {gate_counts(results)}"
    ]
    marks = [text for attributes, text in page.every("span", css="bad") if "title" in attributes]
    assert len(marks) == len(failed) and all(text.startswith("✗") for text in marks)


def test_cheapest_of_the_leaders(shapes: dict[str, Run]) -> None:
    """Equal sizes are decided by epochs, and with equal epochs nothing is cheaper."""
    group = facts_of(shapes["classes"]).lead
    twins = tuple(replace(model, name=name) for model, name in zip([group.models[0]] * 2, "ab", strict=True))
    assert cheapest(replace(group, models=twins)).startswith("They are equally cheap: 1.0 kB, 12 epochs")
    quick = replace(twins[1], training=twins[1].training.model_copy(update={"epochs": 3}))
    text = cheapest(replace(group, models=(twins[0], quick)))
    assert text == "The cheapest of these 2 is b: 1.0 kB, 3 epochs of training."


def test_where_the_best_fails(shapes: dict[str, Run]) -> None:
    """Five confused pairs, or true values, the worst first, with up to three test samples that are such errors."""
    for run in shapes.values():
        model: ModelFacts = facts_of(run).lead.best
        found = failures(model)
        assert len(found) == 5
        for failure in found:
            assert 1 <= len(failure.answers) <= 3
            for answer in failure.answers:
                assert failure.title in (f"{answer.label} → {answer.predicted}", f"true value {answer.label}")


def with_losses(run: Run, name: str, loss: Any, val_loss: Any) -> None:
    """Replaces the losses of the history of a model."""
    path = run.root / "models" / name / "history.csv"
    pd.read_csv(path).assign(loss=loss, val_loss=val_loss).to_csv(path, index=False)


@pytest.mark.farm
def test_diverged_training_is_named(tmp_path: Path) -> None:
    """A loss that diverges is a mark in the bar that leads to the curves, by the rule of the training's warning.

    Neither a large loss from the first epoch on nor one on the validation part alone is missed; a loss that grows but
    stays small, and one that recovers, are none.
    """
    run = shaped_run(tmp_path, 7, 10)
    with_losses(run, "model_01", np.geomspace(1, 8e16, 12), 0.5)
    with_losses(run, "model_02", 8e16, 8e16)
    with_losses(run, "model_03", 0.1, [0.5] * 11 + [8e16])
    with_losses(run, "model_04", np.geomspace(0.001, 0.02, 12), 0.05)
    with_losses(run, "model_05", [8e16] + [0.1] * 11, 0.5)
    with_losses(run, "model_06", [np.inf] * 12, np.nan)
    facts = facts_of(run)
    marked = [model.name for model in facts.models if has_diverged(model, facts.data)]
    assert sorted(marked) == ["model_01", "model_02", "model_03", "model_06"]
    notes = {row.model.name: row.note for row in screen(facts.lead, facts.data, None, None).rows}
    assert {name for name, note in notes.items() if note == "diverged"} == set(marked)
    assert report.main(run.arguments()) == 0
    links = [(attributes["href"], text)
             for attributes, text in Page((run.out / "index.html").read_text()).every("a", css="pill")
             if text.startswith("diverged")]  # fmt: skip
    assert links == [(f"#model-{marked[0]}", f"diverged: {', '.join(marked[:3])} and 1 more")]


def test_scale_of_values_is_no_divergence(tmp_path: Path) -> None:
    """The losses of large values are large: what diverges follows from the values that the model learns."""
    run = shaped_run(tmp_path, 2, 10, "regression")
    for loss, expected in ((9000.0, True), (5000.0, False)):  # the variance of the labels 0 to 9 is 8.25
        with_losses(run, "model_01", loss, loss)
        facts = facts_of(run)
        assert {model.name: has_diverged(model, facts.data) for model in facts.models}["model_01"] == expected


def test_regression_page_has_no_words_of_classes(shapes: dict[str, Run]) -> None:
    """The page of values has bias, shares within 0.5 and 1 and the mean, and says nothing of classes."""
    run = shapes["values"]
    run.edit("data/raw/dataset.json", class_names=list("0123456789"))
    assert report.main(run.arguments()) == 0
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", (run.out / "index.html").read_text(), flags=re.DOTALL)
    assert not CLASS_WORDS.findall(text)
    for wanted in ("within 0.5 of the true value", "within 1 of the true value", "Bias: the mean", "the mean 4.4"):
        assert wanted in text


def test_bias_and_shares_are_those_of_the_values() -> None:
    """The bias of each true value is the mean of predicted less true; many values are divided into ranges."""
    random = np.random.default_rng(0)
    true = random.integers(0, 10, 500)
    values = true + random.normal(0.2, 0.5, 500)
    rows = by_value(true, values)
    assert [row.bias for row in rows] == pytest.approx([(values - true)[true == value].mean() for value in range(10)])
    assert all(row.interval and row.interval.low < row.bias < row.interval.high for row in rows)
    errors = np.abs(values - true)
    assert [part.share for part in shares_within(errors)] == [(errors <= 0.5).mean(), (errors <= 1).mean()]
    many = by_value(np.linspace(0, 1, 400), np.zeros(400))
    assert len(many) == 10 and sum(len(row.indexes) for row in many) == 400
    assert by_value(np.array([3.0]), np.array([4.0]))[0].interval is None


def test_thresholds_agree_with_scikit_learn() -> None:
    """Precision, recall, specificity and the area are scikit-learn's; with a single class there is no curve."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 300)
    probability = np.clip(random.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    counts = thresholds(labels, probability)
    for at in (20, 50, 90):
        predicted = probability >= at / 100
        precision, recall, specificity = (rate.share for rate in counts.rates("yes", at))
        assert precision == pytest.approx(precision_score(labels, predicted))
        assert recall == pytest.approx(recall_score(labels, predicted))
        assert specificity == pytest.approx(recall_score(1 - labels, ~predicted))
    assert counts.roc_area == pytest.approx(roc_auc_score(labels, probability))
    assert [counts.roc[0], counts.roc[-1]] == [(0.0, 0.0), (1.0, 1.0)] and len(counts.roc) <= 122
    single = thresholds(np.ones(5, int), np.full(5, 0.9))
    assert single.roc == [] and np.isnan(single.roc_area) and single.rates("yes")[2].interval is None


def test_two_class_page_names_the_positive_class(tmp_path: Path) -> None:
    """A task of two classes has precision, recall and specificity with intervals, and the base rate."""
    run = shaped_run(tmp_path, 2, 2, "two_class", names=["no", "yes"])
    assert report.main(run.arguments()) == 0
    text = " ".join(re.sub(r"<[^>]*>", " ", (run.out / "index.html").read_text()).split())
    assert "The positive class is yes . Base rate: 225 of 450 test images (50.00%) are yes" in text
    for rate in ("Precision", "Recall", "Specificity"):
        assert re.search(rf"{rate} of .*? \d+\.\d\d% \d+\.\d\d% to \d+\.\d\d%", text)
    assert "ROC curve of model_00, area 0." in (run.out / "index.html").read_text()


def test_confused_classes_are_neighbours() -> None:
    """In the clustered order, classes that are confused lie side by side; the worst by recall come first."""
    matrix = np.diag(np.full(30, 10))
    for one, other in ((0, 29), (3, 17)):
        matrix[one, other] = matrix[other, one] = 8
    order = list(clustered_order(matrix))
    assert sorted(order) == list(range(30))
    assert abs(order.index(0) - order.index(29)) == abs(order.index(3) - order.index(17)) == 1
    assert arranged(matrix, order).sum() == matrix.sum()
    assert {recall.number for recall in worst_recalls(matrix, 4)} == {0, 29, 3, 17}
    assert clustered_order(np.eye(25, dtype=int)) == list(range(25))


def test_long_class_names_have_codes() -> None:
    """Names above three letters are letters in the matrix, or numbers above 26 of them, with a key."""
    assert class_codes(["0", "10", "abc"]) == ["0", "10", "abc"]
    assert class_codes(["T-shirt/top", "Trouser"]) == ["A", "B"]
    assert class_codes([f"class {number}" for number in range(30)])[-1] == "29"
