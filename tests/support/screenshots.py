"""Takes the screenshots of the report in docs/, from the page with the timings of this machine.

inkflow report && python -m tests.support.screenshots
"""

import sys
from typing import Literal

from playwright.sync_api import sync_playwright

from tests.support.root import ROOT

PAGE = ROOT / ".inkflow/report/index.html"
CHROMIUM = "/usr/bin/chromium"
# Width, colour scheme and first heading of each screenshot; None is the top of the page.
SCREENSHOTS: dict[str, tuple[int, Literal["light", "dark"], str | None]] = {
    "report": (1280, "light", None),
    "report-dark": (1280, "dark", None),
    "report-model": (1280, "light", "model-cnn"),
    "report-phone": (390, "light", None),
}
HEIGHT = 1180


def main() -> int:
    """Takes all screenshots."""
    if not PAGE.exists():
        print(f"error: {PAGE} is missing; run `inkflow report` to write it", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (width, colours, heading) in SCREENSHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)
            page.goto(PAGE.as_uri())
            if heading:
                page.locator(f"#{heading} > details").evaluate("part => { part.open = true; part.scrollIntoView() }")
            page.screenshot(path=ROOT / "docs" / f"{name}.png")
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
