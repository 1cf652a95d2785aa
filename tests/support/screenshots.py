"""Takes the screenshots of the report in docs/, from the page with the timings of this machine.

inkflow report && python -m tests.support.screenshots
"""

import sys
from typing import Literal

from playwright.sync_api import sync_playwright

from tests.support.root import ROOT

PAGE = ROOT / ".inkflow/report/index.html"
CHROMIUM = "/usr/bin/chromium"
# Width, height, colour scheme and address of each screenshot; those with an address begin at the pane of details.
SCREENSHOTS: dict[str, tuple[int, int, Literal["light", "dark"], str]] = {
    "report": (1280, 800, "light", ""),
    "report-dark": (1280, 800, "dark", ""),
    "report-model": (1280, 900, "light", "#m=cnn&tab=mistakes"),
    "report-two": (1280, 960, "light", "#m=cnn,cnn_fast&tab=mistakes"),
    "report-phone": (390, 844, "light", ""),
}


def main() -> int:
    """Takes all screenshots."""
    if not PAGE.exists():
        print(f"error: {PAGE} is missing; run `inkflow report` to write it", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (width, height, colours, state) in SCREENSHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(PAGE.as_uri() + state)
            page.locator("figure.cost .vega-embed").wait_for()
            if state:
                page.locator("#details").evaluate("part => part.scrollIntoView()")
            page.screenshot(path=ROOT / "docs" / f"{name}.png")
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
