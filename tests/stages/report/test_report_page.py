"""What the page, the summary and the table of a finished run say, against the files they come from."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from stages.report import report
from tests.support.html_page import Page
from tests.support.report_data import HIDDEN, Run, finish_run, small_digits


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits, three models, the report written; to be read only."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), HIDDEN)
    assert report.main(run.arguments()) == 0
    return run


@pytest.fixture(scope="module")
def page(finished: Run) -> Page:
    """The page of `finished`."""
    return Page((finished.out / "index.html").read_text())


def ranked(run: Run) -> list[str]:
    """Names of the models, the fewest errors first, read straight from the evaluation."""
    exams = {path.parent.name: json.loads(path.read_text()) for path in run.root.glob("evaluation/*/metrics.json")}
    return sorted(exams, key=lambda name: (exams[name]["errors"], exams[name]["loss"]))


def headline_rows(page: Page) -> list[str]:
    """Names of the models in the headline table, in its order."""
    return [attributes["data-model"] or "" for attributes, _ in page.every("tr") if "data-model" in attributes]


def test_verdict_comes_first_and_names_the_best(finished: Run, page: Page) -> None:
    """The page's first heading is the verdict on the model with the fewest errors, with n and interval."""
    first = next(tag for tag, _, _ in page.elements if tag.startswith("h") and tag[1:].isdigit())
    assert first == "h1"
    assert ranked(finished)[0] in page.text("h1")
    assert "of 450 test images right (95% interval" in page.text("p", css="evidence")


def test_stand_in_is_said_loudly_on_page_and_summary(finished: Run, page: Page) -> None:
    """Numbers of a stand-in are never taken for those of the real data set."""
    banner = page.text("aside", css="banner")
    assert "These numbers are from digits, a stand-in for mnist" in banner
    assert "inkflow run --dataset mnist" in banner
    assert "a stand-in for mnist" in (finished.out / "summary.md").read_text()


def test_stand_in_is_said_once(finished: Run) -> None:
    """Page and summary have one warning each: what is said over and over is not read."""
    for name in ("index.html", "summary.md"):
        text = (finished.out / name).read_text()
        assert len(re.findall("stand-in|stands in", text)) == 1


def test_every_model_has_its_row_and_its_panel_best_first(finished: Run, page: Page) -> None:
    """Table and panels hold the models of params.yaml, sorted by errors."""
    assert headline_rows(page) == ranked(finished)
    assert page.panels() == ranked(finished)


def test_every_picture_has_alternative_text(page: Page) -> None:
    """Every image, figure and interval says what it shows; two curves and a reliability diagram stand for a model."""
    images = [attributes.get("alt") for attributes, _ in page.every("img")]
    assert {f"test image {index}" for index in range(10)} <= set(images)
    assert len([alt for alt in images if (alt or "").startswith("training image")]) == 20
    assert all(images)
    figures = [attributes.get("aria-label") or "" for attributes, _ in page.every("figure")]
    assert len(figures) == 3 * len(HIDDEN) and all(figures)
    curves = [figure for figure in figures if re.search(r"over 4 epochs: training from [\d.]+ to", figure)]
    assert len(curves) == 2 * len(HIDDEN) and all("best epoch" in curve for curve in curves)
    for attributes, _ in page.every("svg"):
        assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


def test_cards_say_what_was_reached(finished: Run, page: Page) -> None:
    """Each model card carries accuracy with Wilson's interval, log-loss, Brier score and calibration error."""
    said = [text for _, text in page.every("dd") if text.startswith("On 450 test images: accuracy")]
    table = pd.read_csv(finished.out / "metrics.csv")
    for card, row in zip(said, table.to_dict("records"), strict=True):
        low, high = proportion_confint(row["test_samples"] - row["test_errors"], row["test_samples"], method="wilson")
        assert f"accuracy {row['test_accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}, Wilson)" in card
        for name, key in (("log-loss", "test_loss"), ("Brier score", "brier"), ("calibration error",) * 2):
            assert f"{name} {row[key.replace(' ', '_')]:.4f}" in card


def test_each_models_curves_have_their_key(page: Page) -> None:
    """Which line is training and which validation stands at every model's curves, not only once above all."""
    assert [text for _, text in page.every("p", css="keys")] == ["training validation"] * len(HIDDEN)


def test_summary_has_the_epochs(finished: Run) -> None:
    """The summary's table tells of each model how many epochs it learnt."""
    head, _, *rows = [line for line in (finished.out / "summary.md").read_text().splitlines() if line[:1] == "|"]
    place = head.split("|").index(" Epochs ")
    assert [row.split("|")[place].strip() for row in rows] == ["4"] * len(HIDDEN)
    assert {row.count("|") for row in rows} == {head.count("|")}


def test_short_curves_are_not_smoothed(page: Page) -> None:
    """Over four epochs each curve is drawn once, as measured, and the page says why."""
    said = [text for _, text in page.every("p", css="lead") if text.startswith("Learning curves")]
    assert len(said) == 1 and "as measured: smoothing (weight 0.9 on the past) would mislead" in said[0]


def test_page_is_one_file(finished: Run, page: Page) -> None:
    """Nothing is fetched: no program or style but the page's own, only data and places in the page itself."""
    html = (finished.out / "index.html").read_text()
    for _, attributes, _ in page.elements:
        for name in ("src", "href", "xlink:href", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"@import|url\((?!#)|<script src|<link|http://|https://", html)
    assert len(html) < 1_500_000


def test_identifiers_are_unique(page: Page) -> None:
    """Pictures drawn apart do not share identifiers once they stand in one page."""
    identifiers = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_first_answers_and_wrong_marks_are_those_of_the_models(finished: Run, page: Page) -> None:
    """A mark in words stands at each wrong answer to the first ten test images, and nowhere else."""
    tables = [
        pd.read_parquet(finished.root / "evaluation" / name / "predictions.parquet")[:10] for name in ranked(finished)
    ]
    said = [text.removeprefix("✗wrong:").strip() for _, text in page.every("span", css="said")]
    assert said == [str(digit) for table in tables for digit in table["predicted"]]
    wrong = sum(int((table["predicted"] != table["label"]).sum()) for table in tables)
    assert wrong > 0
    assert len(page.every("td", css="wrong")) == len(page.every("span", css="spoken")) == wrong


def test_confusion_matrix_counts_every_test_image(finished: Run, page: Page) -> None:
    """The diagonal sums to the right answers of all models."""
    right = sum(
        450 - json.loads(path.read_text())["errors"] for path in finished.root.glob("evaluation/*/metrics.json")
    )
    assert sum(int(text or 0) for _, text in page.every("td", css="hit")) == right


def test_class_balance_is_that_of_the_arrays(page: Page) -> None:
    """The bars carry the counts of training and test images."""
    digits = small_digits()
    counts = np.column_stack([np.bincount(digits.y_train), np.bincount(digits.y_test)])
    assert [int(text) for _, text in page.every("td", css="bar")] == counts.ravel().tolist()


def test_metrics_csv_keeps_full_precision(finished: Run) -> None:
    """A row a model, best first, with the very numbers of the other stages."""
    table = pd.read_csv(finished.out / "metrics.csv", index_col="model")
    assert table.index.tolist() == ranked(finished)
    for name, row in table.iterrows():
        exam = json.loads((finished.root / f"evaluation/{name}/metrics.json").read_text())
        training = json.loads((finished.root / f"models/{name}/training.json").read_text())
        assert row["test_loss"] == exam["loss"]
        assert row["test_errors"] == exam["errors"]
        gap = training["train"]["accuracy"] - exam["accuracy"]
        assert row["gap_points"] == pytest.approx(100 * gap, abs=1e-9)
        assert row["parameters"] == training["parameters"]
