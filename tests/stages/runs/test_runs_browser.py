"""The page over all versions in a real browser: no network, no messages, keyboard, phone, light and dark."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from flows.cli.runs.report_runs import collect
from stages.report.statistics.paired_tests import (
    Agreement,
    holm_correction,
    holm_levels,
    mcnemar_test,
    paired_difference,
)
from stages.runs.content import has_other_test, page_content
from stages.runs.predictions import compare, corrected, read_predictions
from tests.support.chromium import NEEDS_CHROMIUM, open_page
from tests.support.loaded_page import PHONE
from tests.support.root import ROOT
from tests.support.runs_loaded import Loaded
from tests.support.runs_pages import write_runs_page

pytestmark = NEEDS_CHROMIUM
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def path(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a project with broken versions, sweeps of one, two and three parameters; read-only."""
    return write_runs_page(history, tmp_path_factory.mktemp("runs") / "runs.html")


@pytest.fixture(scope="module")
def desk(browser: Browser, path: Path) -> Loaded:
    """This page on a desk; each test calls `visit` first."""
    return Loaded(browser, path)


ALL_OPEN = "#open=sweep-1,sweep-2,sweep-3,rate-1&tick=rate-1,rate-4"


@pytest.mark.cases(1)
@pytest.mark.parametrize(("address", "dark"), [("", False), (ALL_OPEN, True)])
def test_no_network_no_messages_accessible(browser: Browser, path: Path, address: str, *, dark: bool) -> None:
    """The page requests nothing but itself, logs nothing, and axe-core finds nothing, with all opened too."""
    loaded = Loaded(browser, path, address, dark=dark)
    outside = [url for url in loaded.requests if not url.startswith(("data:", "file:"))]
    assert outside == [] and loaded.messages == []
    assert loaded.violations() == []
    loaded.page.close()


@pytest.mark.cases(1)
@pytest.mark.parametrize("address", ["", ALL_OPEN])
def test_phone_has_no_sideways_scrolling(browser: Browser, path: Path, address: str) -> None:
    """At 390 pixels nothing is wider than the window, and every line shows its score."""
    page = Loaded(browser, path, address, phone=True).page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.locator("tr.line .score").first.is_visible()
    page.close()


@pytest.mark.farm
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


def test_verdicts_of_the_page_are_those_of_the_statistics(desk: Loaded, history: Path) -> None:
    """With another version pinned, the page's own paired tests give Python's differences and verdicts, in all lines.

    Both are corrected over all different tests: of the chosen models, and of the models that sweeps vary. Versions on
    other data have none.
    """
    facts = collect(history)
    predictions, content = read_predictions(facts["files"]), page_content(facts)
    base = next(row for row in content["rows"] if row["title"] == "dense: small")
    others = [row for row in content["rows"] if row is not base and row["best"] and not has_other_test(row, base)]
    bests = {row["id"]: (row, row["best"], base["best"]) for row in others}
    assert "the digits" not in {row["title"] for row in others}
    swept = {
        row["id"]: (row, sweep["keys"][0].split(".")[1], sweep["keys"][0].split(".")[1])
        for sweep in content["sweeps"]
        for row in content["rows"]
        if row["id"] in sweep["members"]
    }
    expected: dict[tuple[bool, str], Any] = {}
    for is_member, family in ((False, bests), (True, swept)):
        pairs = {
            name: (row["models"][new]["predictions"], base["models"][old]["predictions"])
            for name, (row, new, old) in family.items()
        }
        different = [pair for pair in dict.fromkeys(pairs.values()) if pair[0] != pair[1]]
        tests = [compare(predictions[new], predictions[old]) for new, old in different]
        known = dict(zip(different, corrected([test for test in tests if test]), strict=True))
        assert all(tests)
        expected |= {(is_member, name): known.get(pair) for name, pair in pairs.items()}
    page = desk.visit("#open=sweep-1,sweep-2,sweep-3")
    pinned = desk.line("dense: small")
    pinned.locator(".pin-button").click()
    assert "baseline" in pinned.inner_text()
    compared = set()
    for line in page.locator("tr.line:not(.sweep)").all():
        test = expected.get(("member" in (line.get_attribute("class") or ""), line.get_attribute("data-id") or ""))
        if test is None:  # the baseline, or the same predictions
            continue
        sign = "+" if test["difference"] > 0 else "\N{MINUS SIGN}" if test["difference"] < 0 else ""
        text = f"{sign}{abs(100 * test['difference']):.2f} {test['verdict']}"
        assert text in " ".join(line.locator(".verdicts").inner_text().split())
        title = line.locator(".verdicts [title^=positive]").get_attribute("title") or ""
        assert float(title.split("p ")[1].split(",")[0]) == pytest.approx(test["p"], rel=0.06)
        compared.add(text)
    assert len(compared) > 4


# Images that both, one or neither of two models gets right: Newcombe's interval of the first excludes 0 where the exact
# test finds no difference.
AGREEMENTS = [
    Agreement(395, 5, 0, 0), Agreement(395, 0, 5, 0), Agreement(380, 3, 14, 3), Agreement(350, 31, 9, 10),
    Agreement(370, 14, 4, 12), Agreement(390, 5, 5, 0), Agreement(392, 8, 0, 0), Agreement(400, 0, 0, 0),
    Agreement(0, 0, 7, 393), Agreement(0, 250, 150, 0),
]  # fmt: skip


def masks(agreement: Agreement) -> tuple[Any, Any]:
    """Returns the correct predictions of two models, bool (n,)."""
    return np.repeat([True, True, False, False], agreement), np.repeat([True, False, True, False], agreement)


@pytest.mark.farm
def test_intervals_of_the_page_agree_with_their_verdicts(browser: Browser, path: Path) -> None:
    """The page's intervals are Python's, at the levels of Holm's procedure: only beside a difference they exclude 0."""
    page = Loaded(browser, path).page
    source = (ROOT / "stages/runs/templates/statistics.js").read_text(encoding="utf-8")  # the page hides its functions
    disagreements = 0
    for family in [AGREEMENTS, *([agreement] for agreement in AGREEMENTS)]:
        single = [mcnemar_test(*masks(agreement)) for agreement in family]
        p_values = [test.p for test in single]
        levels = holm_levels(p_values)
        expected = [mcnemar_test(*masks(agreement), level) for agreement, level in zip(family, levels, strict=True)]
        given = [
            {"counts": list(agreement), "difference": test.difference, "p": test.p}
            for agreement, test in zip(family, single, strict=True)
        ]
        found = page.evaluate(f"tests => {{ {source}\n return holm(tests); }}", given)
        corrected_ps = holm_correction(p_values)
        for agreement, shown, test, p in zip(family, found, expected, corrected_ps, strict=True):
            assert [shown["low"], shown["high"], shown["p"]] == pytest.approx([*test.interval, p], abs=1e-9)
            assert (shown["low"] > 0 or shown["high"] < 0) == (shown["verdict"] != "cannot tell")
            disagreements += len(family) == 1 and paired_difference(agreement) != test.interval
    assert disagreements  # some ends are those of the exact interval
    page.close()


def test_a_comparison_of_several_models_has_corrected_intervals(desk: Loaded, history: Path) -> None:
    """The table of two versions shows each changed model's interval at the level at which Holm's procedure tests it."""
    facts = collect(history)
    predictions, content = read_predictions(facts["files"]), page_content(facts)
    old, new = (next(row for row in content["rows"] if row["title"] == title) for title in ("dense: small", "back"))
    page = desk.visit(f"#tick={old['id']},{new['id']}")
    table = page.locator("#compare table", has_text="p (Holm)")
    assert "Corrected interval" in table.locator("thead").inner_text()
    sides = [[predictions[row["models"][name]["predictions"]] for row in (new, old)] for name in ("dense", "cnn")]
    pairs = [[side.answers == side.labels for side in both] for both in sides]
    levels = holm_levels([mcnemar_test(*pair).p for pair in pairs])
    for name, pair, level in zip(("dense", "cnn"), pairs, levels, strict=True):
        ends = [f"{'+' if end > 0 else MINUS if end < 0 else ''}{abs(100 * end):.2f}"
                for end in mcnemar_test(pair[0], pair[1], level).interval]  # fmt: skip
        line = table.locator("tbody tr", has=page.get_by_role("rowheader", name=re.compile(rf"^{name}( |$)")))
        assert " to ".join(ends) in line.inner_text()


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


def test_the_keyboard_keeps_its_place(browser: Browser, path: Path) -> None:
    """The skip link leads to the table and keeps the view; what is drawn anew or closed does not lose the focus."""
    loaded = Loaded(browser, path, "#q=kind:commit&tick=rate-1,rate-4")
    page, address, names = loaded.page, loaded.page.url, loaded.names()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "rows" and page.url == address
    page.evaluate("location.hash = 'rows'")  # as by an old link
    page.wait_for_function("location.hash !== '#rows'")
    assert loaded.names() == names and page.locator("#compare").is_visible() and "tick=" in page.url
    line = page.get_by_role("checkbox", name="dense", exact=True)
    line.focus()
    for is_chosen in (True, False):
        page.keyboard.press("Space")
        assert line.is_checked() is is_chosen and ("lines=dense" in page.url) is is_chosen
        assert page.evaluate("document.activeElement.value") == "dense"
    page.locator("#compare button", has_text="Close").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('tr.line .name')")
    page.close()


def test_sweeps_have_the_chart_of_their_parameters(desk: Loaded) -> None:
    """One parameter: dots; two: a heat map with values; three: parallel coordinates; each with the best to apply."""
    page = desk.visit("#open=sweep-1,sweep-2,sweep-3")
    charts = page.locator(".opened .chart svg")
    expect(charts).to_have_count(3)
    labels = sorted(charts.nth(place).get_attribute("aria-label") or "" for place in range(charts.count()))
    assert [label.split(" ")[0] for label in labels] == ["Parallel", "validation", "validation"]
    assert sum(" by dense.units and dense.epochs" in label for label in labels) == 1
    assert page.locator("code", has_text="dvc exp apply").count() == 3


def test_comparison_shows_parameters_curves_and_images(desk: Loaded) -> None:
    """Two ticked versions: what differs, the paired verdict of each model, curves, and the command."""
    page = desk.visit("#tick=rate-1,rate-4")
    text = page.locator("#compare").inner_text()
    assert "cnn.learning_rate" in text and "The same predictions: dense, dense_dropout" in text
    assert any(word in text for word in ("better", "worse", "cannot tell"))
    expect(page.locator("#compare .chart svg")).to_have_count(1)
    assert "inkflow compare rate-1 rate-4" in text
    page.locator("#compare button", has_text="Close").click()
    assert not page.locator("#compare").is_visible() and "tick" not in page.url


def test_a_run_opened_has_its_graph_and_problems(desk: Loaded) -> None:
    """A version shows its stages with their states; one that cannot be read says which file, and why.

    Intervals and p-values are there for those who do not see the axis and cannot hover.
    """
    page = desk.visit("#q=kind:commit")
    desk.line("strict gate").locator(".name").click()
    assert page.locator(".opened svg .node").count() == 8
    assert "cnn lower_bound" in page.locator(".opened").inner_text()
    desk.line("broken").locator(".name").click()
    assert page.locator(".opened", has_text="Not readable: dvc.lock").count() == 1
    shown = page.locator("tr.line", has=page.get_by_role("img", name=re.compile(r"^95% interval [\d.]+% to [\d.]+%$")))
    assert shown.count() == len(desk.names()) - 1  # the broken one has no scores
    verdict = desk.line("strict gate").locator(".verdicts").inner_text()
    assert re.search(r"(better|worse|cannot tell)\s*, p \d", verdict)


def test_trend_breaks_and_brushing_filters(desk: Loaded) -> None:
    """Another data set breaks the line; dragging over the chart leaves the versions of these commits."""
    page = desk.visit("")
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#trend svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 60, steps=5)
    page.mouse.up()
    page.wait_for_function("location.hash.includes('part=')")
    assert "of the trend" in page.locator("#shown").inner_text() and len(desk.names()) < 6
    page.locator("#shown button").click()
    page.wait_for_function("!location.hash.includes('part=')")


def test_without_scripts_there_is_a_table(browser: Browser, path: Path) -> None:
    """Without scripts a plain table has the versions, the chosen model with its interval and its verdict.

    What would need scripts is not there.
    """
    page = open_page(browser, java_script_enabled=False, viewport=PHONE)
    page.goto(path.as_uri())
    text = page.locator("table.static").inner_text()
    assert "strict gate" in text and "learning_rate 0.001 → 0.1" in text and "of 400" in text
    assert page.locator(":is(input, select, button, summary, kbd, #trend):visible").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    page.close()
