"""Takes the pictures of a run on Prefect's page in docs/, from the latest run on a server.

PREFECT_SERVER_UI_API_URL=/api prefect server start &
export PREFECT_API_URL=http://127.0.0.1:4200/api
inkflow run && inkflow run --set models.cnn_fast.epochs=2
python -m tests.support.run_screenshots
"""

import os
import sys

from playwright.sync_api import Page, ViewportSize

from tests.support.chromium import open_chromium, open_page
from tests.support.prefect_api import api
from tests.support.root import ROOT

DRAWING_MS = 4000  # the graph is a canvas: nothing on the page says that it is drawn
# The desk is as high as the table of the models needs; at its width the table is whole.
DESK, PHONE, GRAPH = (
    ViewportSize(width=1600, height=1240), ViewportSize(width=390, height=844), ViewportSize(width=960, height=600)
)  # fmt: skip
BRIEF = "inkflow-brief"


def main() -> int:
    """Takes all pictures."""
    url = os.environ["PREFECT_API_URL"]
    [run] = api(url, "POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    this_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    [brief] = [item for item in api(url, "POST", "/artifacts/filter", this_run) if item["key"] == BRIEF]
    page_of_run = f"{url.removesuffix('/api')}/runs/flow-run/{run['id']}"
    page_of_brief = f"{url.removesuffix('/api')}/artifacts/artifact/{brief['id']}"
    with open_chromium() as browser:
        page = open_page(browser, viewport=GRAPH, device_scale_factor=2)
        page.goto(page_of_run)
        show_graph(page, run["name"])
        page.screenshot(path=ROOT / "docs" / "prefect.png")
        for name, size in (("prefect-brief", DESK), ("prefect-phone", PHONE)):
            page = open_page(browser, viewport=size)
            page.goto(page_of_brief)
            page.locator("img[alt=scores]").wait_for()
            page.wait_for_load_state("networkidle")
            page.screenshot(path=ROOT / "docs" / f"{name}.png")
    return 0


def show_graph(page: Page, name: str) -> None:
    """Waits for the page of the run `name`, and shows its tasks as a graph that fills the screen."""
    page.get_by_text(name).first.wait_for()
    page.locator("canvas").first.wait_for()
    page.get_by_label("Run Graph Options").click()
    for choice in ("Dependency grid", "Hide artifacts", "Hide events"):
        page.get_by_text(choice, exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_title("Toggle fullscreen").click()
    page.wait_for_load_state("networkidle")
    page.get_by_title("Recenter graph").last.click()
    page.mouse.move(5, 5)
    page.wait_for_timeout(DRAWING_MS)


if __name__ == "__main__":
    sys.exit(main())
