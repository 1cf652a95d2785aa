"""The report in a real browser: from a file, without a network, with keyboard and touch, light and dark."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser

from flows.cli.report import fill_page
from stages.report import compare_runs, report
from tests.support.chromium import NEEDS_CHROMIUM, open_page
from tests.support.loaded_page import DESK, OPEN_ALL, PHONE, LoadedPage
from tests.support.report_data import HIDDEN_LAYERS, Run
from tests.support.report_shapes import shaped_run

pytestmark = NEEDS_CHROMIUM


# Returns the number of marks of a best epoch in all curves, and the pairs of overlapping texts.
OVERLAPPING_TEXTS = """() => {
  const overlapping = [];
  let marks = 0;
  for (const plot of document.querySelectorAll(".curves svg")) {
    const texts = [...plot.querySelectorAll("text")].map((t) => [t.textContent.trim(), t.getBoundingClientRect()]);
    marks += texts.filter(([text]) => text.startsWith("best ")).length;
    texts.forEach(([one, a], index) => {
      for (const [other, b] of texts.slice(index + 1))
        if (a.left < b.right && b.left < a.right && a.top + 1 < b.bottom && b.top + 1 < a.bottom)
          overlapping.push(`${one} / ${other}`);
    });
  }
  return [marks, overlapping];
}"""
SHAPES = {
    "two models, two classes": (2, 2, "multiclass"),
    "twenty models": (20, 10, "multiclass"),
    "a hundred classes": (2, 100, "multiclass"),
    "values": (3, 10, "regression"),
}
IN_MAKE_TEST = ("a hundred classes", "values")


def test_loads_from_disk_without_network_or_messages(desk: LoadedPage, finished: Run) -> None:
    """The page requests its own file and data URIs only, and the console stays empty."""
    outside = [url for url in desk.requests if not url.startswith("data:")]
    assert outside == [(finished.out / "index.html").as_uri()]
    assert desk.messages == []


@pytest.mark.farm
def test_table_sorts_both_ways(browser: Browser, finished: Run) -> None:
    """A click on a heading sorts by numbers, a second one reverses the order, and `aria-sort` has the direction."""
    page = LoadedPage(browser, finished.out / "index.html").page
    table = page.locator("table.headline")
    heading = table.locator("th", has_text="Errors")

    def errors() -> list[int]:
        return [int(cell.inner_text()) for cell in table.locator("tbody td:nth-child(5)").all()]

    best_first = errors()
    heading.locator("button").click()
    assert errors() == sorted(best_first) and heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").press("Enter")
    assert errors() == sorted(best_first, reverse=True) and heading.get_attribute("aria-sort") == "descending"


@pytest.mark.farm
def test_missing_figures_are_last_in_both_orders(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """A model without a training time is last in both orders of the column."""
    (tmp_path / "reports").mkdir()
    shutil.copyfile(finished.out / "index.html", tmp_path / "reports/index.html")
    figures = {"dense": {"fit_s": 30.0}, "cnn": {}, "dense_small": {"fit_s": 7.0}}
    page = LoadedPage(
        browser, tmp_path / fill_page(tmp_path, {"version": "x", "models": figures, "note": "", "facts": {}})
    ).page
    for order in (["dense_small", "dense", "cnn"], ["dense", "dense_small", "cnn"]):
        page.locator("table.headline th", has_text="Training s").locator("button").click()
        rows = page.locator("table.headline tbody tr").all()
        assert [row.get_attribute("data-model") for row in rows] == order


@pytest.mark.farm
def test_confusion_cell_opens_its_images(browser: Browser, finished: Run) -> None:
    """A click on a cell shows its images, at most 24, each with a description."""
    page = LoadedPage(browser, finished.out / "index.html", "#m=dense_small&tab=mistakes").page
    matrix = page.locator("article#model-dense_small table.lookup")
    cell = matrix.locator("td:not(.diagonal) button").first
    count = int(cell.locator(".images").inner_text())
    cell.click()
    images = page.locator("article#model-dense_small .cell-images img")
    assert images.count() == min(count, 24)
    for image in images.all():
        assert "predicted as" in (image.get_attribute("alt") or "")
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    assert cell.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(
    ("dark", "compared"),
    [pytest.param(False, None, id="light", marks=pytest.mark.farm), pytest.param(True, "#details", id="dark")],
)
def test_accessible(browser: Browser, two_models: Run, dark: bool, compared: str | None) -> None:
    """axe-core finds no violation of contrast, alternative texts, names or order, with images of a cell open too.

    The same holds for two models beside one another: for the pane that shows them, or with all of the page again.
    """
    loaded = LoadedPage(browser, two_models.out / "index.html", "#m=dense&tab=mistakes", dark=dark)
    loaded.page.locator("table.lookup button:visible").first.click()
    assert loaded.violations() == []
    loaded.page.locator("tr[data-recipe=cnn]").click(modifiers=["Shift"])
    assert loaded.page.locator("#compared .difference").is_visible()
    assert loaded.violations(compared) == []


@pytest.mark.farm
def test_dark_mode(browser: Browser, finished: Run) -> None:
    """The background follows the colour scheme of the browser."""
    background = "getComputedStyle(document.body).backgroundColor"
    assert LoadedPage(browser, finished.out / "index.html").page.evaluate(background) == "rgb(255, 255, 255)"
    dark = LoadedPage(browser, finished.out / "index.html", dark=True).page.evaluate(background)
    assert max(int(part) for part in dark[4:-1].split(",")) < 64


def test_fits_a_phone(browser: Browser, finished: Run) -> None:
    """The page fits 390 pixels, also with all details open; only tables scroll."""
    loaded = LoadedPage(browser, finished.out / "index.html", phone=True)
    assert loaded.overflow() == 0
    loaded.page.evaluate(OPEN_ALL)
    assert loaded.overflow() == 0


def test_works_without_javascript(browser: Browser, finished: Run) -> None:
    """Without JavaScript the page has all figures, and no controls."""
    page = open_page(browser, java_script_enabled=False)
    page.goto((finished.out / "index.html").as_uri())
    assert page.locator("table.headline tbody tr").count() == len(HIDDEN_LAYERS)
    assert page.locator("button").count() == 0
    assert page.locator(".scripted:visible").count() == 0
    page.close()


@pytest.mark.farm
def test_machine_figures(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """The copy of `inkflow report` shows the figures of this machine and the commit; the page does not."""
    (tmp_path / "reports").mkdir()
    shutil.copyfile(finished.out / "index.html", tmp_path / "reports/index.html")
    figures = {"one_ms": 0.25, "images_per_s": 12345.0}
    content = {"version": "1a2b3c </script>", "models": {"cnn": figures}, "note": "here", "facts": {"Commit": "1a2b3c"}}
    loaded = LoadedPage(browser, tmp_path / fill_page(tmp_path, content))
    row = loaded.page.locator("tr[data-model=cnn]")
    shown = {name: row.locator(f"[data-machine={name}]").inner_text() for name in ("one_ms", "images_per_s", "fit_s")}
    assert shown == {"one_ms": "0.250", "images_per_s": "12,345", "fit_s": "–"}  # noqa: RUF001 - a dash instead of a figure
    assert "1a2b3c </script>" in loaded.page.locator(".kicker").inner_text()
    assert loaded.messages == []
    plain = LoadedPage(browser, finished.out / "index.html").page
    assert plain.locator("[data-machine=one_ms]:visible").count() == 0


def test_every_column_fits_a_desk(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """At 1280 pixels the table of models shows all columns without scrolling, also with the figures of this machine."""
    (tmp_path / "reports").mkdir()
    shutil.copyfile(finished.out / "index.html", tmp_path / "reports/index.html")
    figures = {name: {"one_ms": 0.0123, "images_per_s": 758592.0, "fit_s": 123.0} for name in HIDDEN_LAYERS}
    content = {"version": "1a2b3c", "models": figures, "note": "here", "facts": {}}
    page = LoadedPage(browser, tmp_path / fill_page(tmp_path, content)).page
    box = page.locator(".scroll", has=page.locator("table.headline"))
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    last = page.locator("tr[data-model=cnn] [data-machine=fit_s]").bounding_box()
    assert last is not None and last["x"] + last["width"] <= DESK["width"]


@pytest.mark.cases(1)
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_borders_of_a_table_continue_below_the_sticky_column(desk: LoadedPage, phone: bool) -> None:
    """In a table that is scrolled sideways, the border below each row is visible in the first column too."""
    page = desk.page
    page.set_viewport_size(PHONE if phone else DESK)
    box = page.locator(".scroll", has=page.locator("table.headline"))
    box.evaluate("box => { box.scrollLeft = 40; }")
    for row in box.locator("tbody tr").all():
        row.scroll_into_view_if_needed()
        head = row.locator("th").bounding_box()
        assert head is not None
        bottom = head["y"] + head["height"]
        strip = {"x": head["x"] + 4, "y": round(bottom) - 4, "width": 12, "height": 8}
        shot = Image.open(io.BytesIO(page.screenshot(clip=strip))).convert("L")  # type: ignore[arg-type]
        rows = np.asarray(shot).min(axis=1)
        assert rows.min() < 240 < rows.max()
    page.set_viewport_size(DESK)


@pytest.mark.farm
def test_verdicts_are_visible_on_a_phone(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """390 pixels show the verdicts of comparisons without scrolling the table, in a comparison of versions too.

    There the address holds two models whose names have commas, as those of an experiment have.
    """
    shutil.copytree(finished.root, tmp_path / "new")
    for name in ("metrics.json", "predictions.parquet"):
        shutil.copyfile(tmp_path / "new/evaluation/cnn" / name, tmp_path / "new/evaluation/dense_small" / name)
    versions = [f"--old=epochs_3,size_4={finished.root}", f"--new=workspace={tmp_path / 'new'}"]
    assert compare_runs.main([*versions, "--out", str(tmp_path / "out")]) == 0
    for path, rows in ((finished.out / "index.html", 3), (tmp_path / "out/index.html", 1 + 6)):
        verdicts = LoadedPage(browser, path, phone=True).page.locator(".pairs td.verdict").all()
        assert len(verdicts) == rows
        for cell in verdicts:
            box = cell.bounding_box()
            assert box is not None and box["x"] + box["width"] <= PHONE["width"]
    names = [f"dense_small@{version}" for version in ("epochs_3,size_4", "workspace")]
    page = LoadedPage(browser, tmp_path / "out/index.html", "#model-" + names[0]).page
    page.get_by_label("Compare with").select_option(names[1])
    address = page.evaluate("location.hash").replace("tab=learning", "tab=parameters")
    again = LoadedPage(browser, tmp_path / "out/index.html", address, phone=True)
    assert again.page.locator("#details-title").inner_text() == " and ".join(names)
    assert again.page.locator("tr.recipe.chosen").count() == 2
    assert again.page.locator("#compared-parameters").is_visible() and again.overflow() == 0


@pytest.mark.farm
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_texts_of_a_curve_do_not_overlap(browser: Browser, tmp_path: Path, phone: bool) -> None:
    """The mark of the best epoch does not overlap the title or another text, for every best epoch."""
    run = shaped_run(tmp_path, 12, 3)
    for best in range(12):
        path = tmp_path / f"models/model_{best:02}/history.csv"
        history = pd.read_csv(path)
        history.loc[best, "val_loss"] = 0.001
        history.to_csv(path, index=False)
    assert report.main(run.arguments()) == 0
    page = LoadedPage(browser, run.out / "index.html", phone=phone).page
    page.evaluate(OPEN_ALL)
    marks, overlapping = page.evaluate(OVERLAPPING_TEXTS)
    assert marks == 24 and overlapping == []


@pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=() if shape in IN_MAKE_TEST else pytest.mark.farm) for shape in SHAPES]
)
@pytest.mark.farm
def test_shapes(browser: Browser, tmp_path: Path, shape: str) -> None:
    """Pages of few and many models and classes, and of values, fit a phone, pass axe-core, and stay below 5 MB.

    The mark of a diverged training is visible there.
    """
    run = shaped_run(tmp_path, *SHAPES[shape])
    history = run.root / "models/model_01/history.csv"
    pd.read_csv(history).assign(loss=8e16).to_csv(history, index=False)
    assert report.main(run.arguments()) == 0
    path = run.out / "index.html"
    assert path.stat().st_size < 5_000_000
    loaded = LoadedPage(browser, path, phone=True)
    assert loaded.overflow() == 0
    assert loaded.messages == []
    assert loaded.violations() == []
    assert loaded.page.locator("tr.recipe .flag:visible").all_inner_texts() == ["diverged"]
    assert loaded.page.locator("table.headline tbody tr").count() == SHAPES[shape][0]
    metrics = json.loads((run.out / "models.json").read_text())
    assert len(metrics) == SHAPES[shape][0]
