"""Page, summary and tables of a finished run, compared with the files of the other stages."""

import json
import re
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from tests.support.html_page import Page
from tests.support.report_data import HIDDEN_LAYERS, Run, small_digits


@pytest.fixture(scope="module")
def page(finished: Run) -> Page:
    """The page of `finished`."""
    return Page((finished.out / "index.html").read_text())


def ranked(run: Run) -> list[str]:
    """Names of the models, the lowest validation loss first, from the files of the training."""
    records = {path.parent.name: json.loads(path.read_text()) for path in run.root.glob("models/*/training.json")}
    return sorted(records, key=lambda name: records[name]["validation"]["loss"])


def headline_rows(page: Page) -> list[str]:
    """Names of the models in the headline table, in its order."""
    return [attributes["data-model"] or "" for attributes, _ in page.every("tr") if "data-model" in attributes]


def test_first_heading_is_the_verdict(finished: Run, page: Page) -> None:
    """The first heading names the model of the lowest validation loss; loss, number of images and interval follow."""
    first = next(tag for tag, _, _ in page.elements if tag.startswith("h") and tag[1:].isdigit())
    assert first == "h1"
    assert ranked(finished)[0] in page.text("h1")
    choice = rf"{ranked(finished)[0]} has the lowest validation loss, \d\.\d{{4}}\. "
    assert re.match(choice + r"On 450 test images .+ \(95% interval ", page.text("p", css="evidence"))


def test_stand_in_has_a_banner_on_page_and_summary(finished: Run, page: Page) -> None:
    """Page and summary warn that the numbers are those of a stand-in."""
    banner = page.text("aside", css="banner")
    assert "These numbers are from digits, a stand-in for mnist" in banner
    assert "inkflow run --dataset mnist" in banner
    assert "a stand-in for mnist" in (finished.out / "summary.md").read_text()


def test_stand_in_has_one_warning(finished: Run) -> None:
    """Page and summary have one warning each, because readers skip repeated ones; a mark in the bar leads to it."""
    page = Page((finished.out / "index.html").read_text())
    assert len(page.every("aside")) == 1
    marks = [attributes for attributes, text in page.every("a", css="pill") if text == "stand-in data"]
    assert [mark["href"] for mark in marks] == ["#warning"]
    text = re.sub(r"<(script|style)\b.*?</\1>", "", (finished.out / "index.html").read_text(), flags=re.DOTALL)
    assert len(re.findall("stand-in|stands in", text)) == 1 + len(marks)
    assert len(re.findall("stand-in|stands in", (finished.out / "summary.md").read_text())) == 1


def test_every_model_has_its_row_and_its_panel_best_first(finished: Run, page: Page) -> None:
    """Table and panels hold the models of params.yaml, sorted by errors."""
    assert headline_rows(page) == ranked(finished)
    assert page.panels() == ranked(finished)


def test_every_picture_has_alternative_text(page: Page) -> None:
    """Every image, figure and interval has a description; each model has two curves and a reliability diagram.

    Another figure is that of score against cost.
    """
    images = [attributes.get("alt") for attributes, _ in page.every("img")]
    assert {f"test image {index}" for index in range(10)} <= set(images)
    assert len([alt for alt in images if (alt or "").startswith("training image")]) == 20
    assert all(images)
    figures = [attributes.get("aria-label") or "" for attributes, _ in page.every("figure")]
    assert len(figures) == 3 * len(HIDDEN_LAYERS) + 1 and all(figures)
    curves = [figure for figure in figures if re.search(r"over 4 epochs: training from [\d.]+ to", figure)]
    assert len(curves) == 2 * len(HIDDEN_LAYERS) and all("best epoch" in curve for curve in curves)
    for attributes, _ in page.every("svg"):
        assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


def test_cards_have_the_scores(finished: Run, page: Page) -> None:
    """Each model card has accuracy with Wilson's interval, log-loss, Brier score and calibration error."""
    cards = [text for _, text in page.every("dd") if text.startswith("On 450 test images: Test accuracy")]
    table = pd.read_csv(finished.out / "metrics.csv").query("model != 'trivial answer'")
    for card, row in zip(cards, table.to_dict("records"), strict=True):
        low, high = proportion_confint(row["test_samples"] - row["test_errors"], row["test_samples"], method="wilson")
        assert f"Test accuracy {row['test_accuracy']:.2%}; 95% interval {low:.2%} to {high:.2%}; " in card
        for name, key in (("Log-loss", "test_loss"), ("Brier", "brier"), ("Calibration error", "calibration_error")):
            assert f"{name} {row[key]:.4f}" in card


def test_each_models_curves_have_their_key(page: Page) -> None:
    """The key for training and validation is beside the curves of every model."""
    assert [text for _, text in page.every("p", css="keys")] == ["training validation"] * len(HIDDEN_LAYERS)


def test_summary_has_the_epochs(finished: Run) -> None:
    """The summary's table has the number of epochs of each model; the last row is the trivial answer, without any."""
    head, _, *rows = [line for line in (finished.out / "summary.md").read_text().splitlines() if line[:1] == "|"]
    column = head.split("|").index(" Epochs ")
    assert [row.split("|")[column].strip() for row in rows] == [*["4"] * len(HIDDEN_LAYERS), ""]
    assert {row.count("|") for row in rows} == {head.count("|")}


def test_short_curves_are_not_smoothed(page: Page) -> None:
    """Over four epochs each curve is drawn once, as measured, and the page gives the reason."""
    (text,) = [text for _, text in page.every("p", css="lead") if text.startswith("Learning curves")]
    assert "The lines are measured values: smoothing (weight 0.9 on the past) would mislead" in text


def test_page_is_one_file(finished: Run, page: Page) -> None:
    """The page loads nothing: its scripts and style are inline, and all addresses are data or anchors.

    The library of the charts names addresses, and a browser test shows that it loads none of them.
    """
    html = (finished.out / "index.html").read_text()
    assert len(html) < 2_500_000
    html = re.sub(r'<script id="library">.*?</script>', "", html, flags=re.DOTALL)
    for _, attributes, _ in page.elements:
        for name in ("src", "href", "xlink:href", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"@import|url\((?!#)|<script src|<link|http://|https://", html)
    assert len(html) < 1_500_000


def test_provenance_names_what_computes_and_draws(page: Page) -> None:
    """The provenance has the versions of the libraries of the figures, of the charts and of the images."""
    (libraries,) = [text for _, text in page.every("dd") if text.startswith("numpy ")]
    for name in ("scipy", "onnxruntime", "vl-convert-python", "pillow"):
        assert f"{name} {version(name)}" in libraries.split(", ")


def test_identifiers_are_unique(page: Page) -> None:
    """Plots that are drawn separately do not share identifiers in the page."""
    identifiers = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_first_predictions_and_marks_are_those_of_the_models(finished: Run, page: Page) -> None:
    """Each wrong prediction of the first ten test images has a mark in words, and no other prediction has one."""
    tables = [
        pd.read_parquet(finished.root / "evaluation" / name / "predictions.parquet")[:10] for name in ranked(finished)
    ]
    predicted = [text.removeprefix("✗wrong:").strip() for _, text in page.every("span", css="predicted")]
    assert predicted == [str(digit) for table in tables for digit in table["predicted"]]
    wrong = sum(int((table["predicted"] != table["label"]).sum()) for table in tables)
    assert wrong > 0
    assert len(page.every("td", css="wrong")) == len(page.every("span", css="visually-hidden")) == wrong


def test_confusion_matrix_counts_every_test_image(finished: Run, page: Page) -> None:
    """The diagonals sum to the correct predictions of all models."""
    right = sum(
        450 - json.loads(path.read_text())["errors"] for path in finished.root.glob("evaluation/*/metrics.json")
    )
    assert sum(int(text or 0) for _, text in page.every("td", css="diagonal")) == right


def test_class_balance_is_that_of_the_arrays(page: Page) -> None:
    """The bars have the counts of training and test images."""
    digits = small_digits()
    counts = np.column_stack([np.bincount(digits.y_train), np.bincount(digits.y_test)])
    assert [int(text) for _, text in page.every("td", css="bar")] == counts.ravel().tolist()


def test_metrics_csv_keeps_full_precision(finished: Run) -> None:
    """metrics.csv has a row for each model, as the page has, with the unrounded numbers of the other stages.

    After them is the trivial answer.
    """
    table = pd.read_csv(finished.out / "metrics.csv", index_col="model")
    assert table.index.tolist() == [*ranked(finished), "trivial answer"]
    for name, row in table.drop(index="trivial answer").iterrows():
        metrics = json.loads((finished.root / f"evaluation/{name}/metrics.json").read_text())
        training = json.loads((finished.root / f"models/{name}/training.json").read_text())
        assert row["test_loss"] == metrics["loss"]
        assert row["test_errors"] == metrics["errors"]
        gap = training["train"]["accuracy"] - metrics["accuracy"]
        assert row["gap_points"] == pytest.approx(100 * gap, abs=1e-9)
        assert row["parameters"] == training["parameters"]
