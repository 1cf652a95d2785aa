"""Charts without a network: SVG from a specification, and a page that draws one by itself."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from stages.charts import vega
from tests.support.chromium import NEEDS_CHROMIUM, open_chromium, open_page

POINTS = {
    "data": {"values": [{"a": 1, "b": 2}, {"a": 2, "b": 4}]},
    "mark": "point",
    "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "b", "type": "quantitative"}},
}


def test_a_chart_is_drawn_as_svg_without_scripts() -> None:
    """The SVG is one well-formed element with a mark for each value, and has no script."""
    text = vega.svg(POINTS)
    root = ElementTree.fromstring(text)
    marks = root.findall(".//{http://www.w3.org/2000/svg}g[@class='mark-symbol role-mark marks']/*")
    assert len(marks) == 2
    assert "<script" not in text


def test_data_at_an_address_are_refused() -> None:
    """A chart has its data inside: an address is not opened."""
    with pytest.raises(ValueError, match="not allowed"):
        vega.svg({"data": {"url": "http://127.0.0.1:9/data.csv"}, "mark": "point"})


class TestInChromium:
    """The JavaScript in a real browser."""

    pytestmark = NEEDS_CHROMIUM

    @pytest.mark.farm  # the page over all versions draws by the same script
    def test_the_script_draws_a_chart_offline(self, tmp_path: Path) -> None:
        """A page with the script inside draws a chart while the browser is offline, without an error."""
        page_file = tmp_path / "page.html"
        draw = f"vegaEmbed('#chart', {json.dumps(POINTS)}, {{renderer: 'svg', actions: false}})"
        page_file.write_text(
            f"<!doctype html><meta charset='utf-8'><title>chart</title><div id='chart'></div>"
            f"<script>{vega.javascript()}</script><script>{draw}</script>"
        )
        with open_chromium() as browser:
            page = open_page(browser, offline=True)
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(page_file.as_uri())
            page.wait_for_selector("#chart svg .mark-symbol path")
            assert page.locator("#chart svg .mark-symbol path").count() == 2
            assert errors == []
