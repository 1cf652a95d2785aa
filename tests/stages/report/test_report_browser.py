"""The report in a real browser: from a file, without a network, by keyboard and finger, light and dark."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from flows.cli.report import fill
from stages.report import compare_runs, report
from tests.support.report_data import HIDDEN, Run, finish_run, small_digits
from tests.support.report_shapes import shaped_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


# Of all pictures of curves: how many marks of a best epoch there are, and which two texts overlap.
TEXTS_THAT_TOUCH = """() => {
  const touching = [];
  let marks = 0;
  for (const picture of document.querySelectorAll(".curves svg")) {
    const texts = [...picture.querySelectorAll("text")].map((t) => [t.textContent.trim(), t.getBoundingClientRect()]);
    marks += texts.filter(([words]) => words.startsWith("best ")).length;
    texts.forEach(([one, a], index) => {
      for (const [other, b] of texts.slice(index + 1))
        if (a.left < b.right && b.left < a.right && a.top + 1 < b.bottom && b.top + 1 < a.bottom)
          touching.push(`${one} / ${other}`);
    });
  }
  return [marks, touching];
}"""
SHAPES = {
    "two models, two classes": (2, 2, "multiclass"),
    "twenty models": (20, 10, "multiclass"),
    "a hundred classes": (2, 100, "multiclass"),
    "values": (3, 10, "regression"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits, three models, the report written; to be read only."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), HIDDEN)
    assert report.main(run.arguments()) == 0
    return run


class Opened:
    """A page opened from its file, with everything that it asked for and complained about."""

    def __init__(self, browser: Browser, path: Path, *, phone: bool = False, dark: bool = False) -> None:
        scheme = "dark" if dark else "light"
        self.page: Page = browser.new_page(viewport=PHONE if phone else DESK, color_scheme=scheme)  # type: ignore[arg-type]
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def violations(self) -> list[str]:
        """What axe-core finds wrong, by rule and element."""
        found = Axe().run(self.page).response["violations"]
        return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found]

    def overhang(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_opens_from_disk_without_network_or_complaint(browser: Browser, finished: Run) -> None:
    """The file alone is asked for, beside data in the page itself; the console stays empty."""
    opened = Opened(browser, finished.out / "index.html")
    outside = [url for url in opened.requests if not url.startswith("data:")]
    assert outside == [(finished.out / "index.html").as_uri()]
    assert opened.complaints == []


def test_table_sorts_both_ways(browser: Browser, finished: Run) -> None:
    """A click on a head sorts by numbers, a second one turns the order round, and readers' programs are told."""
    page = Opened(browser, finished.out / "index.html").page
    table = page.locator("table.headline")
    head = table.locator("th", has_text="Errors")

    def errors() -> list[int]:
        return [int(cell.inner_text()) for cell in table.locator("tbody td:nth-child(4)").all()]

    best_first = errors()
    head.locator("button").click()
    assert errors() == sorted(best_first) and head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert errors() == sorted(best_first, reverse=True) and head.get_attribute("aria-sort") == "descending"


def test_what_has_no_figure_goes_last_both_ways(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """A model without a fit time here stands last, whichever way round the column is sorted."""
    (tmp_path / "reports").mkdir()
    shutil.copyfile(finished.out / "index.html", tmp_path / "reports/index.html")
    figures = {"dense": {"fit_s": 30.0}, "cnn": {}, "dense_small": {"fit_s": 7.0}}
    page = Opened(browser, tmp_path / fill(tmp_path, {"version": "x", "models": figures, "note": "", "facts": {}})).page
    for order in (["dense_small", "dense", "cnn"], ["dense", "dense_small", "cnn"]):
        page.locator("table.headline th", has_text="Fit").locator("button").click()
        rows = page.locator("table.headline tbody tr").all()
        assert [row.get_attribute("data-model") for row in rows] == order


def test_confusion_cell_opens_its_images(browser: Browser, finished: Run) -> None:
    """A click on a cell shows the images that it counts, at most 24, each with its text."""
    page = Opened(browser, finished.out / "index.html").page
    matrix = page.locator("article#model-dense_small table.lookup")
    cell = matrix.locator("td:not(.hit) button").first
    count = int(cell.locator(".times").inner_text())
    cell.click()
    images = page.locator("article#model-dense_small .found img")
    assert images.count() == min(count, 24)
    for image in images.all():
        assert "read as" in (image.get_attribute("alt") or "")
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    assert cell.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_accessible(browser: Browser, finished: Run, dark: bool) -> None:
    """axe-core finds nothing: contrast, alternative texts, names, order; with images of a cell open too."""
    opened = Opened(browser, finished.out / "index.html", dark=dark)
    opened.page.locator("table.lookup button").first.click()
    assert opened.violations() == []


def test_dark_is_dark(browser: Browser, finished: Run) -> None:
    """The paper follows the reader's choice."""
    paper = "getComputedStyle(document.body).backgroundColor"
    assert Opened(browser, finished.out / "index.html").page.evaluate(paper) == "rgb(255, 255, 255)"
    dark = Opened(browser, finished.out / "index.html", dark=True).page.evaluate(paper)
    assert max(int(part) for part in dark[4:-1].split(",")) < 64


def test_fits_a_phone(browser: Browser, finished: Run) -> None:
    """390 pixels are wide enough: only tables scroll, within themselves; with everything unfolded too."""
    opened = Opened(browser, finished.out / "index.html", phone=True)
    assert opened.overhang() == 0
    opened.page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    assert opened.overhang() == 0


def test_reads_without_its_program(browser: Browser, finished: Run) -> None:
    """Without JavaScript all figures stand there, and nothing that would not work."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((finished.out / "index.html").as_uri())
    assert page.locator("table.headline tbody tr").count() == len(HIDDEN)
    assert page.locator("button").count() == 0
    assert page.locator(".scripted:visible").count() == 0
    context.close()


def test_machine_figures(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """The copy that `inkflow report` makes shows this machine's figures and the commit; the page itself does not."""
    (tmp_path / "reports").mkdir()
    shutil.copyfile(finished.out / "index.html", tmp_path / "reports/index.html")
    figures = {"one_ms": 0.25, "images_per_s": 12345.0}
    told = {"version": "1a2b3c </script>", "models": {"cnn": figures}, "note": "here", "facts": {"Commit": "1a2b3c"}}
    opened = Opened(browser, tmp_path / fill(tmp_path, told))
    row = opened.page.locator("tr[data-model=cnn]")
    shown = {name: row.locator(f"[data-here={name}]").inner_text() for name in ("one_ms", "images_per_s", "fit_s")}
    assert shown == {"one_ms": "0.250", "images_per_s": "12,345", "fit_s": "–"}  # noqa: RUF001 - a dash for nothing
    assert "1a2b3c </script>" in opened.page.locator(".kicker").inner_text()
    assert opened.complaints == []
    plain = Opened(browser, finished.out / "index.html").page
    assert plain.locator("[data-here=one_ms]:visible").count() == 0


def test_every_column_fits_a_desk(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """At 1280 pixels the table of models shows all its columns, those of this machine too, without scrolling."""
    (tmp_path / "reports").mkdir()
    shutil.copyfile(finished.out / "index.html", tmp_path / "reports/index.html")
    figures = {name: {"one_ms": 0.0123, "images_per_s": 758592.0, "fit_s": 123.0} for name in HIDDEN}
    told = {"version": "1a2b3c", "models": figures, "note": "here", "facts": {}}
    page = Opened(browser, tmp_path / fill(tmp_path, told)).page
    box = page.locator(".scroll", has=page.locator("table.headline"))
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    last = page.locator("tr[data-model=cnn] [data-here=fit_s]").bounding_box()
    assert last is not None and last["x"] + last["width"] <= DESK["width"]


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_lines_of_a_table_go_on_below_the_column_that_sticks(browser: Browser, finished: Run, phone: bool) -> None:
    """In a table that was scrolled sideways, the line under each row is seen in its first column as in the others."""
    page = Opened(browser, finished.out / "index.html", phone=phone).page
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


def test_verdicts_are_seen_on_a_phone(browser: Browser, finished: Run, tmp_path: Path) -> None:
    """390 pixels show what a comparison comes to without scrolling its table, in a comparison of versions too."""
    shutil.copytree(finished.root, tmp_path / "new")
    for name in ("metrics.json", "predictions.parquet"):
        shutil.copyfile(tmp_path / "new/evaluation/cnn" / name, tmp_path / "new/evaluation/dense_small" / name)
    sides = [f"--old=a-branch={finished.root}", f"--new=workspace={tmp_path / 'new'}"]
    assert compare_runs.main([*sides, "--out", str(tmp_path / "out")]) == 0
    for path, rows in ((finished.out / "index.html", 3), (tmp_path / "out/index.html", 1 + 6)):
        verdicts = Opened(browser, path, phone=True).page.locator(".pairs td.judged").all()
        assert len(verdicts) == rows
        for cell in verdicts:
            box = cell.bounding_box()
            assert box is not None and box["x"] + box["width"] <= PHONE["width"]


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_nothing_is_printed_over_anything_in_a_curve(browser: Browser, tmp_path: Path, phone: bool) -> None:
    """Wherever the best epoch lies, its mark does not touch the title or another text of the picture."""
    run = shaped_run(tmp_path, 12, 3)
    for best in range(12):
        path = tmp_path / f"models/model_{best:02}/history.csv"
        history = pd.read_csv(path)
        history.loc[best, "val_loss"] = 0.001
        history.to_csv(path, index=False)
    assert report.main(run.arguments()) == 0
    page = Opened(browser, run.out / "index.html", phone=phone).page
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    marks, touching = page.evaluate(TEXTS_THAT_TOUCH)
    assert marks == 24 and touching == []


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(browser: Browser, tmp_path: Path, shape: str) -> None:
    """Few and many models and classes, and values: fits a phone, passes axe-core, and stays under 5 MB."""
    run = shaped_run(tmp_path, *SHAPES[shape])
    assert report.main(run.arguments()) == 0
    path = run.out / "index.html"
    assert path.stat().st_size < 5_000_000
    opened = Opened(browser, path, phone=True)
    assert opened.overhang() == 0
    assert opened.complaints == []
    assert opened.violations() == []
    assert opened.page.locator("table.headline tbody tr").count() == SHAPES[shape][0]
    metrics = json.loads((run.out / "metrics.json").read_text())
    assert len(metrics) == SHAPES[shape][0]
