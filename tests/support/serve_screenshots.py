"""Takes the pictures of the page of `inkflow serve` in docs/, with a drawn 3, on a desk and a phone.

python -m tests.support.serve_screenshots [MODEL]      a trained model, such as models/cnn (the default)

axe-core checks each page before its picture is taken.
"""

import math
import sys
import tempfile
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from stages.base.errors import exit_with
from stages.predict.model_files import find_model
from tests.stages.serve.test_serve_browser import SIZES, draw_with_mouse
from tests.support.chromium import open_chromium, open_page
from tests.support.model_server import model_server
from tests.support.root import ROOT

HEIGHT = 700  # of the window: a picture has the whole page, and no empty space below it


def arc(middle: float, radius: float, start: int, end: int) -> list[tuple[float, float]]:
    """Returns points of an arc around (0.48, `middle`), in shares of the canvas; degrees clockwise from the right."""
    turns = (math.radians(angle) for angle in range(start, end + 1, 12))
    return [(0.48 + radius * math.cos(turn), middle + radius * math.sin(turn)) for turn in turns]


THREE = arc(0.35, 0.14, -144, 84) + arc(0.63, 0.16, -84, 144)


def main() -> int:
    """Takes all pictures; the exit code is 1 if axe-core finds something."""
    model, found = find_model(*(sys.argv[1:] or ["cnn"])).parent.absolute(), []
    with (
        tempfile.TemporaryDirectory() as folder,
        model_server(Path(folder), str(model)) as client,
        open_chromium() as browser,
    ):
        for size, viewport in SIZES.items():
            page = open_page(browser, viewport=viewport | {"height": HEIGHT})
            page.goto(str(client.base_url))
            expect(page.locator("#model")).to_contain_text(model.name)
            draw_with_mouse(page, THREE)
            expect(page.locator("#answer.result")).to_be_visible()
            page.evaluate("scrollTo(0, 0)")
            found += Axe().run(page).response["violations"]
            page.screenshot(path=ROOT / "docs" / f"serve-{size}.png", full_page=True)
            page.close()
    print("\n".join(f"axe-core: {item['id']}: {item['help']}" for item in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
