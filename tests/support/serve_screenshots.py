"""Takes the pictures of the page of `inkflow serve` in docs/, with a drawn 7: on a desk and a phone, light and dark.

python -m tests.support.serve_screenshots [MODEL]      a trained model, such as models/cnn (the default)

axe-core checks each page before its picture is taken.
"""

import itertools
import sys
import tempfile
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from stages.base.errors import exit_with
from stages.predict.classifier import find_model
from tests.stages.serve.test_serve_browser import SEVEN, SIZES, draw_with_mouse
from tests.support.chromium import open_chromium
from tests.support.model_server import model_server
from tests.support.root import ROOT

SCHEMES: dict[str, Literal["light", "dark"]] = {"": "light", "-dark": "dark"}  # by the end of the picture's name
HEIGHT = 700  # of the window: a picture has the whole page, and no empty space below it


def main() -> int:
    """Takes all pictures; the exit code is 1 if axe-core finds something."""
    model, found = find_model(*(sys.argv[1:] or ["cnn"])).parent.absolute(), []
    with (
        tempfile.TemporaryDirectory() as folder,
        model_server(Path(folder), str(model)) as client,
        open_chromium() as browser,
    ):
        for size, suffix in itertools.product(SIZES, SCHEMES):
            viewport = SIZES[size] | {"height": HEIGHT}
            page = browser.new_page(viewport=viewport, color_scheme=SCHEMES[suffix])  # type: ignore[arg-type]
            page.goto(str(client.base_url))
            expect(page.locator("#model")).to_contain_text(model.name)
            draw_with_mouse(page, SEVEN)
            expect(page.locator("#answer.result")).to_be_visible(timeout=60_000)
            page.evaluate("scrollTo(0, 0)")
            found += Axe().run(page).response["violations"]
            page.screenshot(path=ROOT / "docs" / f"serve-{size}{suffix}.png", full_page=True)
            page.close()
    print("\n".join(f"axe-core: {item['id']}: {item['help']}" for item in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
