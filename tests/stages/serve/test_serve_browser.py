"""The page of `inkflow serve` in a real browser: a drawn 7 is read as 7, on a desk and a phone, light and dark."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from stages.samples.picture_form import PictureForm
from tests.stages.predict.test_values import write_regression
from tests.support.chromium import NEEDS_CHROMIUM, open_page
from tests.support.model_server import model_server, served_app
from tests.support.own_letters import set_form
from tests.support.pictures import draw, encoded, write_reader

SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1280, "height": 900}}
SEVEN = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)]  # the corners of a 7, in shares of the canvas

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server of the model `reader`."""
    folder = tmp_path_factory.mktemp("serve")
    write_reader(folder / "models/reader/model.onnx")
    with served_app(folder, "reader") as client:
        yield client


def draw_with_mouse(page: Page, corners: list[tuple[float, float]]) -> None:
    """Draws a line through `corners` on the canvas."""
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=12)
    page.mouse.up()


@pytest.mark.cases(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_drawn_digit_is_read(browser: Browser, client: httpx.Client, size: str, scheme: str) -> None:
    """The answer and ten bars appear; nothing is wider than the screen, axe-core and the console find nothing."""
    errors: list[str] = []
    page = open_page(browser, viewport=SIZES[size], color_scheme=scheme)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(str(client.base_url))
    expect(page.locator("#model")).to_contain_text("reader")
    draw_with_mouse(page, SEVEN)
    expect(page.locator("#answer.result")).to_be_visible()
    assert page.locator("#bars tr").count() == 10 and page.locator("#bars caption").is_visible()
    assert "7" in page.locator("#answer").inner_text() + page.locator("#note").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert Axe().run(page).response["violations"] == []
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#bars tr").count() == 0 and page.locator("#bars").is_hidden()
    assert errors == []
    page.close()


def test_an_uploaded_picture(browser: Browser, client: httpx.Client, tmp_path: Path) -> None:
    """A picture that is uploaded is answered; one that shows nothing gets the reason."""
    page = open_page(browser)
    page.goto(str(client.base_url))
    (tmp_path / "four.png").write_bytes(encoded(draw(4), "PNG"))
    page.set_input_files("#file", tmp_path / "four.png")
    expect(page.locator("#answer")).to_have_text("4")
    (tmp_path / "blank.png").write_bytes(encoded(Image.new("L", (40, 40), 255), "PNG"))
    page.set_input_files("#file", tmp_path / "blank.png")
    expect(page.locator("#answer")).to_contain_text("No answer: ")
    page.close()


@pytest.mark.parametrize(("background", "paper"), [("dark", 0), ("light", 255)])
def test_a_drawing_has_the_background_of_the_training(
    browser: Browser, tmp_path: Path, background: Literal["dark", "light"], paper: int
) -> None:
    """Dark ink on white is converted for a model whose own training images are light on dark, and for no other."""
    form = PictureForm(background=background).model_dump_json()
    set_form(write_reader(tmp_path / "models/own/model.onnx"), form)
    with served_app(tmp_path, "own") as server:
        page = open_page(browser)
        page.goto(str(server.base_url))
        expect(page.locator("#model")).to_contain_text("own")
        draw_with_mouse(page, SEVEN)
        expect(page.locator("#seen img")).to_be_visible()
        address = page.locator("#seen img").get_attribute("src") or ""
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
        assert (pixels[0] == paper).all() and pixels.min() == 0 and pixels.max() == 255
        page.close()


@pytest.mark.farm
def test_a_value_has_no_table_of_classes(browser: Browser, tmp_path: Path) -> None:
    """A regression answers with its value; nothing on the page has the heading of probabilities."""
    write_regression(tmp_path / "models/mean/model.onnx", outputs=1)
    (tmp_path / "four.png").write_bytes(encoded(draw(4), "PNG"))
    with model_server(tmp_path, "mean") as server:
        page = open_page(browser)
        page.goto(str(server.base_url))
        expect(page.locator("#model")).to_contain_text("mean")
        page.set_input_files("#file", tmp_path / "four.png")
        expect(page.locator("#answer.result")).to_have_text(re.compile(r"\d+(\.\d+)?"))
        expect(page.locator("#bars")).to_be_hidden()
        page.close()


@pytest.mark.farm
def test_the_routes_are_described(browser: Browser, client: httpx.Client) -> None:
    """/docs lists the routes without scripts; axe-core finds nothing."""
    page = open_page(browser)
    page.goto(f"{client.base_url}/docs")
    expect(page.get_by_text("/v2/models/{name}/infer")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    page.close()
