"""Takes the pictures of the report that stand in docs/, from the page with this machine's figures.

inkflow report && python -m tests.support.screenshots
"""

import sys
from typing import Literal

from playwright.sync_api import sync_playwright

from tests.support.root import ROOT

PAGE = ROOT / ".inkflow/report/index.html"
CHROMIUM = "/usr/bin/chromium"
# What each picture shows: width, colours, and the heading that it begins with; the top of the page where there is none.
PICTURES: dict[str, tuple[int, Literal["light", "dark"], str | None]] = {
    "report": (1280, "light", None),
    "report-dark": (1280, "dark", None),
    "report-model": (1280, "light", "model-cnn"),
    "report-phone": (390, "light", None),
}
HEIGHT = 1180


def main() -> int:
    """Take them all."""
    if not PAGE.exists():
        print(f"error: {PAGE} is not there; run `inkflow report` to make it", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (width, colours, begins) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)
            page.goto(PAGE.as_uri())
            if begins:
                page.locator(f"#{begins} > details").evaluate("part => { part.open = true; part.scrollIntoView() }")
            page.screenshot(path=ROOT / "docs" / f"{name}.png")
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
