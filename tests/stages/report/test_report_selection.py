"""The first screen and the pane of details in a real browser: selection, comparison, threshold, keyboard and print."""

import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from stages.report import report
from stages.report.statistics.intervals import wilson_interval
from tests.support.chromium import NEEDS_CHROMIUM
from tests.support.loaded_page import DESK, LoadedPage
from tests.support.report_data import HIDDEN_LAYERS, Run
from tests.support.report_shapes import shaped_run

pytestmark = NEEDS_CHROMIUM
FOCUSED = "document.activeElement.textContent.trim()"


def opened(browser: Browser, run: Run, state: str = "") -> Page:
    """Returns the page of `run` with `state` in its address."""
    return LoadedPage(browser, run.out / "index.html", state).page


def chosen(page: Page) -> list[str]:
    """Returns the names of the selected models, in the order of the ranking."""
    names = page.locator("tr.recipe.chosen").evaluate_all("rows => rows.map(row => row.dataset.recipe)")
    return [str(name) for name in names]


def ranked(page: Page) -> list[str]:
    """Returns the names in the ranking."""
    return [str(name) for name in page.locator("tr.recipe").evaluate_all("rows => rows.map(r => r.dataset.recipe)")]


def predictions(run: Run, name: str) -> pd.DataFrame:
    """Returns the predictions of a model."""
    return pd.read_parquet(run.root / "evaluation" / name / "predictions.parquet")


def test_first_screen_decides(desk: LoadedPage) -> None:
    """1280 x 800 pixels show the verdict, every row of the ranking, score against cost, and where the best fails."""
    page = desk.visit(f"#m={ranked(desk.page)[0]}&tab=learning")
    page.evaluate("scrollTo(0, 0)")
    for selector in ("h1", ".cheapest", "tr.recipe", "tr.baseline", "figure.cost svg", ".failures li", ".pills a"):
        for part in page.locator(f"{selector}:visible").all():
            box = part.bounding_box()
            assert box is not None and box["y"] + box["height"] <= DESK["height"], selector
    rows = page.locator("tr.recipe").all()
    boxes = [row.bounding_box() for row in rows]
    assert [round(box["height"]) for box in boxes if box] == [24] * len(HIDDEN_LAYERS)
    assert page.locator(".failures li").count() == 5
    assert all(item.locator("img").count() in (1, 2, 3) for item in page.locator(".failures li").all())


@pytest.mark.farm
def test_click_and_keys_select_and_the_address_keeps_it(browser: Browser, finished: Run) -> None:
    """A click or an arrow key selects a model, Shift a second one; tab and models stay in the address."""
    page = opened(browser, finished)
    names = ranked(page)
    assert chosen(page) == names[:1] and page.locator("article:visible").count() == 1
    page.locator(f"tr[data-recipe={names[2]}] .plot").click()
    assert chosen(page) == [names[2]] and page.locator("article:visible").get_attribute("data-name") == names[2]
    page.locator(".pick[tabindex='0']").press("ArrowUp")
    assert chosen(page) == [names[1]] and page.evaluate(FOCUSED) == names[1]
    page.keyboard.press("Shift+ArrowUp")
    assert chosen(page) == names[:2] and page.locator("article:visible").count() == 0
    page.get_by_role("tab", name="Parameters").click()
    address = page.evaluate("location.hash")
    assert address == f"#m={names[1]},{names[0]}&tab=parameters"
    again = opened(browser, finished, address)
    assert chosen(again) == names[:2] and again.locator("#compared-parameters").is_visible()
    again.locator(f"tr[data-recipe={names[0]}]").click(modifiers=["Shift"])
    assert chosen(again) == [names[1]]


@pytest.mark.cases(1)
@pytest.mark.parametrize("address", ["#m=&tab=x", "#m=no_such,&tab=mistakes", "#m=dense&tab=none", "#%E0%A4", "#m=%"])
def test_bad_address_is_no_error(browser: Browser, finished: Run, address: str) -> None:
    """An address with unknown models or tabs, or one that is broken, shows the best model, or what it names rightly."""
    loaded = LoadedPage(browser, finished.out / "index.html", address)
    assert loaded.messages == []
    assert len(chosen(loaded.page)) == 1 and loaded.page.locator(".tab:visible").count() == 1


@pytest.mark.farm
def test_a_second_model_is_chosen_without_a_mouse(browser: Browser, finished: Run) -> None:
    """“Compare with” selects a second model of the task by keys and touch, and ends the comparison; paper has none."""
    page = opened(browser, finished, "#m=dense&tab=parameters")
    choice = page.get_by_label("Compare with")
    assert choice.locator("option").all_inner_texts() == ["none", *(name for name in ranked(page) if name != "dense")]
    choice.focus()
    choice.select_option("cnn")
    assert set(chosen(page)) == {"dense", "cnn"} and page.locator("#compared-parameters").is_visible()
    assert page.evaluate("location.hash") == "#m=dense,cnn&tab=parameters"
    assert choice.input_value() == "cnn" and choice.evaluate("choice => document.activeElement === choice")
    page.emulate_media(media="print")
    assert not choice.is_visible()
    page.emulate_media(media="screen")
    choice.select_option("none")
    assert chosen(page) == ["dense"] and page.locator("article:visible").count() == 1


@pytest.mark.farm
def test_a_tab_keeps_the_focus(browser: Browser, finished: Run) -> None:
    """A click, Enter and Space choose a tab, which has the focus afterwards."""
    page = opened(browser, finished)
    focused = "document.activeElement.textContent"
    page.get_by_role("tab", name="Mistakes").click()
    assert page.evaluate(focused) == "Mistakes"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "Calibration"
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        assert page.evaluate(focused) == "Calibration"


@pytest.mark.farm
def test_a_confused_pair_opens_its_images(browser: Browser, finished: Run) -> None:
    """A click on each pair where the best fails opens the cell of that pair with all its images."""
    page = opened(browser, finished)
    opened_cell = page.locator("article:visible .cell-images")
    links = page.locator(".failures a").all()
    for link in [*links, links[0]]:
        link.click()
        label, predicted = link.inner_text().split(" → ")
        assert page.get_by_role("tab", name="Mistakes").get_attribute("aria-selected") == "true"
        assert opened_cell.locator("p").inner_text().startswith(f"{label} predicted as {predicted} (")
        pressed = page.locator("article:visible button.cell[aria-pressed=true]")
        assert pressed.count() == 1 and opened_cell.locator("img").count() == int(
            pressed.locator(".images").inner_text()
        )


def test_two_models_are_compared(desk: LoadedPage, finished: Run) -> None:
    """Two models show the difference of their matrices, and the number of images that only one of them gets right."""
    page = desk.visit("#m=dense_small,cnn&tab=mistakes")
    tables = [predictions(finished, name) for name in ("dense_small", "cnn")]
    matrices = [np.histogram2d(table["label"], table["predicted"], np.arange(11))[0] for table in tables]
    cells = page.locator("#compared .difference tbody td").all_inner_texts()
    shown = [int(text.replace("−", "-") or 0) for text in cells]  # noqa: RUF001 - the typographic minus is meant
    assert shown == (matrices[1] - matrices[0]).astype(int).ravel().tolist()
    right = [(table["label"] == table["predicted"]).to_numpy() for table in tables]
    for title, only in zip(
        page.locator("#compared-mistakes h4").all_inner_texts(),
        (right[0] & ~right[1], right[1] & ~right[0]),
        strict=True,
    ):
        assert re.search(rf" is right: {int(only.sum())} image", title)
    page.get_by_role("tab", name="Learning").click()
    expect(page.locator("#compared-learning figure svg")).to_have_count(2)
    assert page.locator(".curve-note .key:visible").count() == 0  # colours are those of the models
    page.get_by_role("tab", name="Parameters").click()
    assert page.locator("#compared-parameters tbody tr th", has_text="units").is_visible()


def test_cost_is_a_choice(desk: LoadedPage) -> None:
    """The chart of score against cost has another axis and another text after the choice of another cost."""
    page = desk.page
    figure, names = page.locator("figure.cost"), ranked(page)
    expect(figure).to_contain_text("size of the model, MB")
    expect(figure).to_have_attribute("aria-label", re.compile(r"^Test accuracy by size of the model: .* MB"))
    page.get_by_label("Cost").select_option("parameters")
    expect(figure).to_contain_text("parameters")
    expect(figure).not_to_contain_text("MB")
    label = figure.get_attribute("aria-label") or ""
    title, _, models = label.partition(": ")
    assert title == "Test accuracy by parameters"
    assert [re.match(r"(\S+) \d\d\.\d\d% at [\d,]+$", text)[1] for text in models.split("; ")] == names  # type: ignore[index]
    page.get_by_label("Cost").select_option("size")


def test_matrix_is_one_stop_of_the_tab_key(desk: LoadedPage) -> None:
    """One cell of a matrix is in the order of the tab key, and arrow keys move to the next cell with images."""
    page = desk.visit("#m=dense_small&tab=mistakes")
    matrix = page.locator("article#model-dense_small table.confusion")
    assert matrix.locator("button.cell[tabindex='0']").count() == 1 < matrix.locator("button.cell").count()
    first = matrix.locator("button.cell[tabindex='0']")
    first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert first.evaluate("button => document.activeElement === button")
    row = matrix.locator("tbody tr").first.locator("button.cell")
    if row.count() > 1:
        page.keyboard.press("ArrowRight")
        assert row.nth(1).evaluate("button => document.activeElement === button")
    page.keyboard.press("Enter")
    assert page.locator("article#model-dense_small .cell-images img").count() > 0
    assert matrix.locator("button.cell[tabindex='0']").count() == 1


@pytest.mark.farm
def test_scrolling_parts_take_the_focus_only_where_they_scroll(browser: Browser, finished: Run) -> None:
    """A table that fits is no stop of the tab key, and on a phone one that does not fit is one."""
    scrolls = "r => r.scrollWidth > r.clientWidth + 1"
    visible = "[...document.querySelectorAll('.scroll')].filter(r => r.checkVisibility())"
    for phone in (False, True):
        page = LoadedPage(browser, finished.out / "index.html", phone=phone).page
        page.wait_for_function(f"{visible}.every(r => ({scrolls})(r) === (r.tabIndex === 0))")
        assert page.evaluate(f"{visible}.some({scrolls})") == phone


@pytest.mark.farm
def test_headings_have_no_gap(browser: Browser, finished: Run) -> None:
    """The levels of the headings grow by one at most, with one model selected, with two, and with all shown."""
    levels = "all => all.filter(h => h.offsetParent).map(h => Number(h.tagName[1]))"
    for state in ("", "#m=dense,cnn&tab=mistakes"):
        found = opened(browser, finished, state).locator("h1, h2, h3, h4, h5").evaluate_all(levels)
        assert found[0] == 1 and found.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(found))


@pytest.mark.farm
def test_print_has_the_leader_and_no_selection(browser: Browser, finished: Run) -> None:
    """On paper: the first screen, matrix and worst images of the leader whatever is selected, no gates, no controls."""
    page = opened(browser, finished, "#m=dense_small&tab=parameters")
    best = ranked(page)[0]
    page.locator("#gates").evaluate("gates => { gates.open = true; }")
    page.emulate_media(media="print")
    assert page.locator("article:visible").evaluate_all("all => all.map(a => a.dataset.name)") == [best]
    assert page.locator(f"#model-{best} table.confusion").is_visible()
    assert page.locator(f"#model-{best} .gallery img").first.is_visible()
    for hidden in ("#gates table", ".tablist", "nav", ".skip", f"#model-{best} .curves", ".cost-head select"):
        assert page.locator(f"{hidden}:visible").count() == 0
    broken = "all => all.filter(n => new Set([...n.getClientRects()].map(r => r.y)).size > 1).length"
    assert page.locator("table.headline tbody th a, table.pairs tbody th").evaluate_all(broken) == 0


@pytest.mark.farm
def test_each_task_has_its_screen(browser: Browser, tmp_path: Path) -> None:
    """A tab shows ranking and verdict of its task alone; models of two tasks are not compared; paper has the first.

    Each has the first heading of the page, and the skip link leads to its ranking.
    """
    run, other = shaped_run(tmp_path / "run", 2, 10), shaped_run(tmp_path / "other", 1, 10, "regression")
    for folder in ("models", "evaluation"):
        shutil.copytree(other.root / folder / "model_00", run.root / folder / "values")
    run.edit("models/values/training.json", model="values")
    settings = {run_: json.loads((run_.root / "params.yaml").read_text())["models"] for run_ in (run, other)}
    run.edit("params.yaml", models=settings[run] | {"values": settings[other]["model_00"]})
    assert report.main(run.arguments()) == 0
    page = opened(browser, run)
    screens = [page.locator(f"#task-{number}") for number in (0, 1)]
    assert page.locator(".tasks a").all_inner_texts() == ["10 classes (2)", "value (1)"]
    assert screens[0].is_visible() and not screens[1].is_visible()
    page.locator(".tasks a").nth(1).click()
    assert screens[1].is_visible() and not screens[0].is_visible() and chosen(page) == ["values"]
    assert page.locator("h1:visible").count() == 1 == screens[1].locator("h1").count()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "ranking-1" and chosen(page) == ["values"]
    assert page.evaluate("location.hash").startswith("#m=values")
    assert not page.locator(".compare-with").is_visible()  # no other model has this task
    assert chosen(opened(browser, run, "#m=values,model_00")) == ["values"]
    page.emulate_media(media="print")
    assert screens[0].is_visible() and not screens[1].is_visible()


@pytest.mark.farm
def test_threshold_redraws_the_matrix(browser: Browser, tmp_path: Path) -> None:
    """The slider shows counts, precision, recall and specificity with intervals at its threshold."""
    run = shaped_run(tmp_path, 1, 2)
    assert report.main(run.arguments()) == 0
    page = opened(browser, run, "#m=model_00&tab=threshold")
    table, box = predictions(run, "model_00"), page.locator(".thresholds")
    for at in (50, 80, 0, 100):
        box.locator("input").evaluate(f"input => {{ input.value = {at}; input.dispatchEvent(new Event('input')); }}")
        positive, said = table["label"] == 1, table["p1"] / (table["p0"] + table["p1"]) >= at / 100 - 1e-9
        counts = {"tp": positive & said, "fn": positive & ~said, "fp": ~positive & said, "tn": ~positive & ~said}
        shown = {key: int(box.locator(f"[data-count={key}]").inner_text()) for key in counts}
        assert shown == {key: int(mask.sum()) for key, mask in counts.items()}
        low, high = wilson_interval(shown["tp"], shown["tp"] + shown["fn"])
        assert box.locator("[data-ends]").nth(1).inner_text() == f"{low:.2%} to {high:.2%}"


@pytest.mark.farm
def test_hover_tells_a_cell_of_many_classes(browser: Browser, tmp_path: Path) -> None:
    """Above 20 classes, pointing at the clustered matrix names the pair of classes and its count.

    Two models with the same confusions have no list of differences.
    """
    run = shaped_run(tmp_path, 2, 100)
    shutil.copytree(run.root / "evaluation/model_00", run.root / "evaluation/model_01", dirs_exist_ok=True)
    assert report.main(run.arguments()) == 0
    page = opened(browser, run, "#m=model_00&tab=mistakes")
    assert page.locator(".recalls:visible tbody tr").count() == 15
    page.locator(".heatmap img:visible").hover(position={"x": 1, "y": 1})
    expect(page.locator(".heatmap:visible output")).to_have_text(
        re.compile(r"^class (\d+) predicted as class \1: \d+$")
    )
    page.get_by_label("Compare with").select_option("model_01")
    assert page.locator("#compared-mistakes p").all_inner_texts() == ["Largest differences of the confusions: none."]
    assert page.locator("#compared-mistakes table").count() == 0
