"""The page over all versions where predictions, losses, names, tasks or gates are not those of the default pipeline."""

import re

import numpy as np
import pytest

from stages.report.page.charts import LARGE_RANGE
from stages.runs.page import TEMPLATES
from stages.runs.sprite import sprite
from tests.support.chromium import NEEDS_CHROMIUM
from tests.support.runs_loaded import Open
from tests.support.runs_pages import Content, row

pytestmark = NEEDS_CHROMIUM
MINUS = "\N{MINUS SIGN}"


def without_predictions(content: Content) -> None:
    """Leaves the page without predictions and verdicts, as without DVC's cache."""
    content["predictions"] = {}
    for item in content["rows"]:
        item["verdict"] = None


@pytest.mark.farm
def test_positive_is_better_without_a_test(content: Content, opened: Open) -> None:
    """Without predictions the difference is the gain in points, with the sign that it has beside a paired test."""
    base, other = row(content, "back"), row(content, "rate-4")
    new, old = base["models"]["cnn"]["test"], other["models"]["cnn"]["test"]
    lost = f"{MINUS}{100 * (old['rate'] - new['rate']):.2f}"
    assert old["rate"] > new["rate"]
    with_test = opened("#q=kind:experiment&open=sweep-1,sweep-2,sweep-3&tick=rate-4,rate-2")
    assert lost in with_test.line("rate-4").locator(".verdicts").inner_text()
    without_predictions(content)
    loaded = opened(f"#open=sweep-1,sweep-2,sweep-3&tick=rate-4,{base['id'][:10]}")
    assert lost in loaded.line("rate-4").locator(".verdicts").inner_text()
    compared = loaded.page.locator("#compare tr", has_text="cnn chosen").or_(loaded.page.locator("#compare tbody tr"))
    assert f"{lost} points" in compared.first.inner_text()
    assert "Gain in accuracy" in loaded.page.locator("#compare").inner_text()


@pytest.mark.farm
def test_other_data_are_not_compared(content: Content, opened: Open) -> None:
    """A version with another hash of the same data set has no difference; one whose hash is not known has."""
    without_predictions(content)
    row(content, "first")["data"], row(content, "strict gate")["data"] = "f" * 32, ""
    loaded = opened()
    assert "other data" in loaded.line("first").locator(".verdicts").inner_text()
    assert "other data" not in loaded.line("strict gate").locator(".verdicts").inner_text()


@pytest.mark.farm
def test_names_in_the_address(content: Content, opened: Open) -> None:
    """Names with a percent sign or a comma are kept by the address, and a wrong address opens the page."""
    for item, name in ((row(content, "rate-1"), "a%b"), (row(content, "rate-4"), "units=64,epochs=3")):
        item["name"] = item["id"] = name
        old = next(sweep for sweep in content["sweeps"] if sweep["keys"] == ["models.cnn.learning_rate"])
        old["members"] = [item["id"] for item in content["rows"] if item["name"] in ("a%b", "units=64,epochs=3")]
    address = "#tick=a%25b,units%3D64%2Cepochs%3D3"
    loaded = opened(address)
    assert loaded.page.locator("#compare-title").inner_text().split(" \N{RIGHTWARDS ARROW} ") in (
        ["a%b", "units=64,epochs=3"],
        ["units=64,epochs=3", "a%b"],
    )
    loaded.page.locator("#sort").select_option("best")
    assert loaded.page.url.endswith(f"{address}&sort=best")
    assert opened("#tick=a%b%zz&open=%").names()


def test_names_with_an_equals_sign_are_found(content: Content, opened: Open) -> None:
    """DVC names experiments by their parameters: the filter finds the name, and text in quotes as it is."""
    name = "cnn.units=64,cnn.epochs=3"
    item = row(content, "rate-4")
    for sweep in content["sweeps"]:
        sweep["members"] = [name if member == item["id"] else member for member in sweep["members"]]
    item["name"] = item["id"] = name
    loaded = opened()
    for query in (name, '"=64,cnn.ep"', f"kind:experiment {name}"):
        loaded.page.fill("#query", query)
        loaded.page.wait_for_function("document.querySelectorAll('tr.line').length === 1")
        assert loaded.names() == [name] and "nothing" not in loaded.page.locator("#shown").inner_text()
    loaded.page.fill("#query", f"kind:experiment -{name}")
    loaded.page.wait_for_function("document.querySelectorAll('tr.line').length > 1")
    assert name not in loaded.page.locator("#rows").inner_text()


@pytest.mark.farm
def test_best_first_keeps_data_apart(content: Content, opened: Open) -> None:
    """Scores on other data are no better or worse: those on the baseline's come first, those without a score last."""
    other = row(content, "the digits")
    other["models"][other["best"]]["loss"] = 1e-6
    names = opened("#q=kind:commit&sort=best").names()
    assert len(names) > 5 and "the digits" in names[-2] and "broken" in names[-1]
    losses = [row(content, name.split(" ", 1)[1])["models"] for name in names[:-2]]
    chosen = [min(model["loss"] for model in models.values()) for models in losses]
    assert chosen == sorted(chosen)
    pinned = opened(f"#q=kind:commit&sort=best&base={other['id'][:10]}").names()
    assert "the digits" in pinned[0] and "broken" in pinned[-1]


@pytest.mark.farm
def test_a_loss_that_diverged_hides_no_other(content: Content, opened: Open) -> None:
    """Where a loss is a thousand times another one, compared curves and a sweep's dots have a logarithmic scale."""
    assert f"LARGE_RANGE = {LARGE_RANGE};" in (TEMPLATES / "charts.js").read_text(encoding="utf-8")
    for name, losses in (("rate-1", [0.3, 9e4, 8e16]), ("rate-2", [0.9, 0.5, 0.05])):
        model = row(content, name)["models"]["cnn"]
        model["loss"] = losses[-1]
        content["histories"][model["history"]] = {"epoch": [1, 2, 3], "val_loss": losses}
    row(content, "rate-4")["models"]["cnn"]["loss"] = 5.0
    page = opened("#open=sweep-1,sweep-2,sweep-3&tick=rate-1,rate-2").page
    lines = page.locator("#compare .chart .mark-line path").all()
    assert len(lines) == 2 and all(line.evaluate("path => path.getBBox().height > 5") for line in lines)
    dots = page.locator(".chart svg[aria-label*='by cnn.learning_rate'] .mark-symbol").first.locator("path").all()
    heights = sorted(dot.evaluate("path => path.getBoundingClientRect().y") for dot in dots)
    assert len(heights) == 3 and min(np.diff(heights)) > 5


@pytest.mark.farm
def test_images_name_their_classes(content: Content, opened: Open) -> None:
    """An image that became wrong or right has the names of its class and of the answer."""
    (labels,) = {item["labels"] for item in content["predictions"].values()}
    pictures = sprite(np.zeros((400, 4, 4), np.uint8))
    content["images"] = {
        labels: {"of": content["baseline"], "indexes": list(range(400)), "names": list("ABCDEFGHIJ"), **pictures}
    }
    for name in ("rate-1", "rate-2"):
        row(content, name)["best"] = "cnn"
    page = opened("#tick=rate-1,rate-2").page
    texts = page.locator("#compare .gallery .detail").all_inner_texts()
    assert texts and all(re.fullmatch("[A-J] as [A-J]", text) for text in texts)
    spoken = page.locator("#compare .tile").first.get_attribute("aria-label") or ""
    assert re.fullmatch(r"test image \d+, labelled [A-J], taken for [A-J]", spoken)


@pytest.mark.farm
def test_other_losses_are_ranked_by_accuracy(content: Content, opened: Open) -> None:
    """Losses of different functions are not compared: the accuracy chooses in a sweep, and in the first sentence."""
    rates = [row(content, name) for name in ("rate-1", "rate-2", "rate-4")]
    for number, item in enumerate(rates):
        item["params"]["models.cnn.label_smoothing"] = number / 10
        item["models"]["cnn"] |= {"loss": 0.001 * (3 - number), "accuracy": 0.999 - number / 1000}  # two opinions
        item["best"] = "cnn"
    loaded = opened("#open=sweep-1,sweep-2,sweep-3&sort=best")
    text = loaded.page.locator("#rows").inner_text()
    assert "rate-1 has the highest validation accuracy, 0.999 of cnn" in text
    assert "rate-1" in loaded.page.locator("#answer").inner_text()
    assert "has the lowest validation loss" in text  # of the other sweeps
    loaded.page.locator("#metric").select_option("validation")
    without_predictions(content)
    again = opened("#open=sweep-1,sweep-2,sweep-3&show=validation")
    assert "other loss" in again.line("rate-1").locator(".verdicts").inner_text()


def test_the_same_predictions_are_no_test(content: Content, opened: Open) -> None:
    """A version with the predictions of the pinned one is `the same`, and versions with the same ones share a test."""
    first, back = row(content, "first"), row(content, "back")
    loaded = opened()
    for base in ("", f"&base={first['id'][:10]}"):
        loaded.visit(f"#q=kind:commit{base}")
        other = loaded.line("back" if base else "first").locator(".verdicts")
        assert "the same" in other.inner_text() and other.locator("[title^=positive]").count() == 0
        title = loaded.line("strict gate").locator(".verdicts [title^=positive]").get_attribute("title")
        assert title and ", corrected by Holm over all tests" in title
    same = [item for item in content["rows"] if item["verdict"] == {"difference": 0.0, "verdict": "the same"}]
    commits = [item for item in same if item["kind"] == "commit"]
    loaded.visit("#q=verdict:same%20kind:commit")
    assert len(loaded.names()) == len(commits) > 0 and back["verdict"] is None


def test_a_sweep_is_compared_with_the_same_model(content: Content, opened: Open) -> None:
    """Lines of a sweep name the model that it varies, compared with the baseline's own one; the filter goes by it too.

    The chosen model of both is another one, of which the verdict is not "better".
    """
    base, pair = row(content, "dense: small"), row(content, "pair-16-3")
    (sweep,) = [item for item in content["sweeps"] if pair["id"] in item["members"]]
    for item in content["rows"]:
        item["best"] = "cnn" if item["best"] else ""
        if item["id"] in sweep["members"]:
            item["models"]["cnn"]["predictions"] = base["models"]["cnn"]["predictions"]
    errors = pair["models"]["dense"]["test"]["errors"]
    assert errors < base["models"]["dense"]["test"]["errors"] - 50
    loaded = opened()
    for query in ("", "verdict:better%20pair-", f"model:dense%20pair-16-3%20errors={errors}"):
        loaded.visit(f"#open={sweep['id']}&q={query}&base={base['id'][:10]}")
        line = loaded.line("pair-16-3")
        assert re.match(r"\W*dense:\s+\+[\d.]+ better", line.locator(".verdicts").inner_text())
        assert line.locator(".model").inner_text() == "dense" and str(errors) in line.locator(".score").inner_text()


def test_results_of_other_files_are_explained(content: Content, opened: Open) -> None:
    """A version without scores, since its evaluation read another model, says so where it is opened and compared."""
    other = row(content, "rate-1")
    other["verdict"] = other["gates"] = None
    for model in other["models"].values():
        del model["test"], model["predictions"]
    other["stages"][-1]["outdated"] = "read another models/cnn/model.onnx than dvc.lock has now"
    loaded = opened("#open=sweep-1,sweep-2,sweep-3,rate-1&tick=rate-1,rate-2")
    text = f"left out: {other['stages'][-1]['name']} read another models/cnn/model.onnx than dvc.lock has now."
    assert text in loaded.page.locator(".opened", has_text="left out").first.inner_text()
    assert "not evaluated" in loaded.page.locator("#compare").inner_text()
    line = loaded.line("rate-1")
    assert not re.search(r"\d", line.locator(".score").inner_text() + line.locator(".gates").inner_text())


@pytest.mark.farm
def test_regressions_have_their_words(content: Content, opened: Open) -> None:
    """Scores of regressions are called mean absolute errors, lower is a gain, and the cache is not blamed."""
    without_predictions(content)
    for item in content["rows"]:
        for model in item["models"].values():
            model["mae"] = 1 - model.pop("accuracy")
            model["test"] = {"mae": model["test"]["rate"]}
    loaded = opened("#open=sweep-1,sweep-2,sweep-3,rate-1&tick=rate-1,rate-2")
    page = loaded.page
    heads = page.locator("#compare thead").first.inner_text()
    assert "Test MAE before" in heads and "Gain" in heads and "accuracy" not in heads.lower()
    opened_heads = page.locator(".opened", has_text="Apply it").locator("table thead").first.inner_text()
    assert "Validation MAE" in opened_heads and "Test MAE" in opened_heads
    cell = loaded.line("rate-1").locator(".verdicts [title]").last
    assert "a regression" in (cell.get_attribute("title") or "") and cell.inner_text().startswith(MINUS)
    assert "test errors" not in page.locator("#rows").inner_text().lower()
    assert page.locator("#metric option").first.inner_text() == "test MAE"


def test_a_running_trial_has_not_failed(content: Content, opened: Open) -> None:
    """A sweep counts failed, killed and stopped trials as failed, not one that runs now."""
    for name, state in (("rate-1", "running"), ("trial-1", "killed"), ("trial-2", "stopped"), ("trial-3", "running")):
        row(content, name).update({"kind": "run", "state": state, "models": {}, "best": "", "experiment": True})
    gates = [cell.inner_text() for cell in opened().page.locator("tr.sweep .gates").all()]
    assert sorted(text for text in gates if "failed" in text) == ["2 failed"]


@pytest.mark.farm
def test_p_values_beside_the_limit(opened: Open) -> None:
    """A p-value has two digits, and more where these were on another side of 0.05 than the number."""
    source = (TEMPLATES / "statistics.js").read_text(encoding="utf-8")
    numbers = [0.0498, 0.04996, 0.05, 0.0502, 0.052, 0.0494, 0.6, 1, 1e-9]
    texts = opened().page.evaluate(f"numbers => {{ {source}\n return numbers.map(pText); }}", numbers)
    assert texts == ["0.0498", "0.04996", "0.050", "0.0502", "0.052", "0.049", "0.60", "1.0", "1.0e-9"]


@pytest.mark.farm
def test_gates_that_were_not_judged(content: Content, opened: Open) -> None:
    """`gate:unjudged` finds versions with gates that were not judged; `gate:passed` those where all were and passed."""
    row(content, "first")["gates"] = {"passed": 6, "failed": 0, "not_judged": 18, "checks": [], "note": None}
    row(content, "back")["gates"] = {"passed": 24, "failed": 0, "not_judged": 0, "checks": [], "note": None}
    names = opened("#q=kind:commit%20gate:unjudged").names()
    assert len(names) == 1 and "first" in names[0]
    passed = opened("#q=kind:commit%20gate:passed").names()
    assert any("back" in name for name in passed) and not any("first" in name for name in passed)


def test_without_validation_scores_no_version_is_the_best(content: Content, opened: Open) -> None:
    """Where no model is chosen, the page says so, has the test scores of each model, and compares two versions."""
    for item in content["rows"]:
        item["best"], item["verdict"] = "", None
        for model in item["models"].values():
            for key in ("loss", "accuracy", "mae", "low", "high"):
                model.pop(key, None)
    base, other = row(content, "back"), row(content, "rate-4")
    page = opened(f"#open=sweep-1,sweep-2,sweep-3,rate-4&tick=rate-4,{base['id'][:10]}").page
    answer = page.locator("#answer").inner_text()
    assert answer == "No version has a validation score to choose by, so none is named the best."
    assert page.locator("#metric option").first.inner_text() == "test errors"
    assert str(other["models"]["cnn"]["test"]["errors"]) in page.locator(".opened", has_text="Apply it").inner_text()
    compared = page.locator("#compare table", has_text="p (Holm)")
    assert "cnn" in compared.inner_text() and "chosen" not in compared.inner_text()
