"""The page over all versions in a real browser: no network, no messages, keyboard, phone, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from flows.cli.runs.report_runs import collect
from stages.runs.predictions import compare, read_predictions
from tests.support.chromium import NEEDS_CHROMIUM, open_chromium
from tests.support.runs_pages import make_history, write_runs_page

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a project with broken versions, sweeps of one, two and three parameters; read-only."""
    folder = tmp_path_factory.mktemp("runs")
    return write_runs_page(make_history(folder / "project"), folder / "runs.html")


class Loaded:
    """A page that has drawn its charts, with its requests and its messages in the console."""

    def __init__(
        self, browser: Browser, path: Path, address: str = "", *, phone: bool = False, dark: bool = False
    ) -> None:
        scheme = "dark" if dark else "light"
        self.page: Page = browser.new_page(viewport=PHONE if phone else DESK, color_scheme=scheme)  # type: ignore[arg-type]
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def names(self) -> list[str]:
        """Returns the texts of the lines' names."""
        return [button.inner_text() for button in self.page.locator("tr.line .name").all()]

    def line(self, text: str) -> Any:
        """Returns the line with a text."""
        return self.page.locator("tr.line", has_text=text).first


ALL_OPEN = "#open=sweep-1,sweep-2,sweep-3,rate-1&tick=rate-1,rate-4"


@pytest.mark.parametrize(("address", "dark"), [("", False), (ALL_OPEN, True)])
def test_no_network_no_messages_accessible(browser: Browser, path: Path, address: str, *, dark: bool) -> None:
    """The page requests nothing but itself, logs nothing, and axe-core finds nothing, with all opened too."""
    loaded = Loaded(browser, path, address, dark=dark)
    outside = [url for url in loaded.requests if not url.startswith(("data:", "file:"))]
    assert outside == [] and loaded.messages == []
    violations = Axe().run(loaded.page).response["violations"]
    assert [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in violations] == []
    loaded.page.close()


@pytest.mark.parametrize("address", ["", ALL_OPEN])
def test_phone_has_no_sideways_scrolling(browser: Browser, path: Path, address: str) -> None:
    """At 390 pixels nothing is wider than the window, and every line shows its score."""
    page = Loaded(browser, path, address, phone=True).page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.locator("tr.line .score").first.is_visible()
    page.close()


def test_filter_is_kept_in_the_address(browser: Browser, path: Path) -> None:
    """Words filter by data set, parameters and gates; the address has them; an unknown name is told."""
    loaded = Loaded(browser, path)
    page = loaded.page
    page.fill("#query", "kind:commit dataset:mnist cnn.epochs>6")
    page.wait_for_function("document.querySelectorAll('tr.line').length === 1")
    assert "dense: small" in loaded.names()[0] and "epochs" in page.url
    again = Loaded(browser, path, page.url.partition(path.name)[2])
    assert again.page.input_value("#query") == "kind:commit dataset:mnist cnn.epochs>6" and len(again.names()) == 1
    page.fill("#query", "kind:commit gate:failed mark:gates")
    page.wait_for_function("document.querySelector('tr.line .name').textContent.includes('strict gate')")
    assert len(loaded.names()) == 1
    page.fill("#query", "nothing_of_that_name=3")
    page.wait_for_function("document.querySelector('#shown').textContent.includes('nothing is named')")
    page.fill("#query", "-kind:experiment -kind:commit")
    page.wait_for_function("document.querySelectorAll('tr.line').length === 0")
    for other in (loaded, again):
        other.page.close()


def test_verdicts_of_the_page_are_those_of_the_statistics(browser: Browser, path: Path) -> None:
    """With another version pinned, the page's own paired tests give Python's differences and verdicts, in all lines."""
    facts = collect(path.parent / "project")
    rows = {row["id"]: row for row in facts["versions"]}
    predictions = read_predictions(facts["files"])
    loaded = Loaded(browser, path, "#open=sweep-1,sweep-2,sweep-3")
    page = loaded.page
    base = next(row for row in facts["versions"] if row["title"] == "dense: small")
    pinned = loaded.line("dense: small")
    pinned.locator(".pin-button").click()
    assert "baseline" in pinned.inner_text()
    base_best = pinned.locator(".best .model").inner_text()
    compared = set()
    for line in page.locator("tr.line:not(.sweep)").all():
        row, shown = rows[line.get_attribute("data-id") or ""], line.locator(".best .model").inner_text()
        if row is base or shown not in row["models"]:
            continue
        is_member = "member" in (line.get_attribute("class") or "")
        old = base["models"][shown if is_member else base_best]
        expected = compare(predictions[row["models"][shown]["predictions"]], predictions[old["predictions"]])
        assert expected is not None
        sign = "+" if expected["difference"] > 0 else "\N{MINUS SIGN}" if expected["difference"] < 0 else ""
        text = f"{sign}{abs(100 * expected['difference']):.2f} {expected['verdict']}"
        assert text in " ".join(line.locator(".verdicts").inner_text().split())
        compared.add(text)
    assert len(compared) > 4
    page.close()


def test_keyboard(browser: Browser, path: Path) -> None:
    """The table is one tab stop: arrows move, Enter opens, Space ticks, P pins, / goes to the filter."""
    page = Loaded(browser, path, "#q=kind:commit").page
    assert page.locator("tr.line .name[tabindex='0']").count() == 1
    page.locator("tr.line .name").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    assert page.locator("#compare").is_visible() and "tick=" in page.url
    page.keyboard.press("Enter")
    assert page.locator(".detail-line .opened").count() == 1
    page.keyboard.press("End")
    page.keyboard.press("p")
    assert "baseline" in page.locator("tr.line").last.inner_text()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.close()


def test_sweeps_have_the_chart_of_their_parameters(browser: Browser, path: Path) -> None:
    """One parameter: dots; two: a heat map with values; three: parallel coordinates; each with the best to apply."""
    page = Loaded(browser, path, "#open=sweep-1,sweep-2,sweep-3").page
    charts = page.locator(".opened .chart svg")
    labels = sorted(charts.nth(place).get_attribute("aria-label") or "" for place in range(charts.count()))
    assert [label.split(" ")[0] for label in labels] == ["Parallel", "validation", "validation"]
    assert sum(" by dense.units and dense.epochs" in label for label in labels) == 1
    assert page.locator("code", has_text="dvc exp apply").count() == 3
    page.close()


def test_comparison_shows_parameters_curves_and_images(browser: Browser, path: Path) -> None:
    """Two ticked versions: what differs, the paired verdict of each model, curves, and the command."""
    page = Loaded(browser, path, "#tick=rate-1,rate-4").page
    text = page.locator("#compare").inner_text()
    assert "cnn.learning_rate" in text and "The same predictions: dense, dense_dropout" in text
    assert any(word in text for word in ("better", "worse", "cannot tell"))
    assert page.locator("#compare .chart svg").count() == 1
    assert "inkflow compare rate-1 rate-4" in text
    page.locator("#compare button", has_text="Close").click()
    assert not page.locator("#compare").is_visible() and "tick" not in page.url
    page.close()


def test_a_run_opened_has_its_graph_and_problems(browser: Browser, path: Path) -> None:
    """A version shows its stages with their states; one that cannot be read says which file, and why."""
    loaded = Loaded(browser, path, "#q=kind:commit")
    page = loaded.page
    loaded.line("strict gate").locator(".name").click()
    assert page.locator(".opened svg .node").count() == 8
    assert "cnn lower_bound" in page.locator(".opened").inner_text()
    loaded.line("broken").locator(".name").click()
    assert page.locator(".opened", has_text="Not readable: dvc.lock").count() == 1
    page.close()


def test_trend_breaks_and_brushing_filters(browser: Browser, path: Path) -> None:
    """Another data set breaks the line; dragging over the chart leaves the versions of these commits."""
    loaded = Loaded(browser, path)
    page = loaded.page
    box = page.locator("#trend svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 60, steps=5)
    page.mouse.up()
    page.wait_for_function("location.hash.includes('part=')")
    assert "of the trend" in page.locator("#shown").inner_text() and len(loaded.names()) < 6
    page.locator("#shown button").click()
    page.wait_for_function("!location.hash.includes('part=')")
    page.close()


def test_without_scripts_there_is_a_table(browser: Browser, path: Path) -> None:
    """Without scripts a plain table has the versions, the chosen model with its interval and its verdict."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    text = page.locator("table.static").inner_text()
    assert "strict gate" in text and "learning_rate 0.001 → 0.1" in text and "of 400" in text
    context.close()
