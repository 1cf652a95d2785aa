"""Pages that are made of the texts of strangers have no element of theirs, and run nothing in a browser."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, expect

from tests.stages.serve.test_serve_browser import SEVEN, draw_with_mouse
from tests.support.chromium import NEEDS_CHROMIUM, open_chromium, open_page
from tests.support.model_server import model_server
from tests.support.pictures import write_reader
from tests.torture.conftest import Rounds, Try
from tests.torture.support.hostile import CHECKS, HARMLESS, PAYLOADS
from tests.torture.support.pages import PAGES, Page

SUBJECT = "Injection and secrets"
OPEN_ALL = """() => {
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const part of document.querySelectorAll("[title], a, td")) part.dispatchEvent(new Event("mouseover"));
}"""
KINDS = {"page": "html", "summary": "markdown", "models": "csv", "brief": "markdown", "table": "table"}
MARKUP = ("html", "html in an attribute", "end of a script", "vega")  # at one door at a time too
NOT_IN_FILES = ("not utf-8", "absolute path")  # no JSON, YAML or Git name has them
MODEL_CLASSES = 10


def opened(browser: Browser, path: Path) -> tuple[str, list[str], list[str]]:
    """Loads a page from its file and opens all of it; returns its title, requests to elsewhere, and messages."""
    page = open_page(browser)
    messages: list[str] = []
    requests: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        messages.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", dismiss)
    page.goto(path.as_uri())
    page.evaluate(OPEN_ALL)
    title = page.title()
    page.close()
    return title, [url for url in requests if not url.startswith(("data:", "file:"))], messages


@pytest.mark.browser
@pytest.mark.timeout(3000)
@pytest.mark.skipif(NEEDS_CHROMIUM[1].args[0], reason="needs Chromium: apt-get install chromium")
@pytest.mark.farm
def test_pages_of_strangers(promise: Try, rounds: Rounds, tmp_path: Path) -> None:
    """Report, comparison and the page of all versions have no element of a stranger, and run nothing of theirs."""
    is_thorough = bool(rounds(0, 1))
    together = " ".join(PAYLOADS[name] for name in ("html", "html in an attribute", "end of a script", "vega", "link"))
    how = "data sets, classes, parameters, branches, tags, authors and messages with HTML and scripts, in Chromium"
    if is_thorough:
        how += f"; each of {len(PAYLOADS) - len(NOT_IN_FILES)} texts, and {len(MARKUP)} at one door at a time"
    sentence = "A page that shows names from strangers runs none of their scripts."
    with promise(SUBJECT, sentence, how) as tried, open_chromium() as browser:
        for name, page in PAGES.items():
            harmless = page.write(tmp_path / name / HARMLESS, dict.fromkeys(page.doors, HARMLESS))
            attempts = {"all of HTML": dict.fromkeys(page.doors, together)}
            if is_thorough:
                attempts |= one_by_one(page)
            for number, (attempt, texts) in enumerate(attempts.items()):
                folder = tmp_path / name / f"{number}"
                with tried.attempt(f"{name}, {attempt}"):
                    check_page(browser, page.write(folder, texts), harmless)
                shutil.rmtree(folder, ignore_errors=True)


def one_by_one(page: Page) -> dict[str, dict[str, str]]:
    """Returns the texts by attempt: each payload at all doors, and those with markup at one door at a time."""
    everywhere = {name: dict.fromkeys(page.doors, text) for name, text in PAYLOADS.items() if name not in NOT_IN_FILES}
    alone = {
        f"{name}, {door}": {each: PAYLOADS[name] if each == door else HARMLESS for each in page.doors}
        for name in MARKUP
        for door in page.doors
    }
    return everywhere | alone


def check_page(browser: Browser, written: Mapping[str, str], harmless: Mapping[str, str]) -> None:
    """Checks a page in a browser, and each file beside it as one of its kind."""
    for part, content in written.items():
        CHECKS[KINDS[part]](content, harmless[part], "")
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(written["page"])
        file.flush()
        title, requests, messages = opened(browser, Path(file.name))
    assert title != "1" and requests == [] and messages == [], (title, requests, messages)


@pytest.mark.browser
@pytest.mark.skipif(NEEDS_CHROMIUM[1].args[0], reason="needs Chromium: apt-get install chromium")
def test_page_of_a_server(promise: Try, rounds: Rounds, tmp_path: Path) -> None:
    """The page of `inkflow serve` shows classes of a stranger's model as text; names of uploads come back as text."""
    few = [PAYLOADS[name] for name in ("html", "end of a script", "not utf-8")]
    how = "class names and names of uploads with HTML, scripts and line ends, in Chromium and over HTTP"
    with (
        promise(SUBJECT, "A served model's page and answers show strangers' names as text.", how) as tried,
        open_chromium() as browser,
    ):
        for number, names in enumerate(classes_of_models([*PAYLOADS.values()] if rounds(0, 1) else few)):
            folder = tmp_path / f"{number}"
            write_reader(folder / "models/reader/model.onnx", names)
            with model_server(folder, "reader") as client:
                with tried.attempt(f"a drawing, model {number}"):
                    draw(browser, client, names)
                for name, payload in PAYLOADS.items() if number == 0 else ():
                    with tried.attempt(f"upload and header, {name}"):
                        upload(client, payload)
                log = (folder / "serve.log").read_text()
                with tried.verdict("the log"):
                    CHECKS["terminal"](log, log, "")
    assert not list(tmp_path.rglob("canary"))


def classes_of_models(texts: list[str]) -> Iterator[list[str]]:
    """Yields the names of the classes of models that have `texts` and some numbers among them."""
    for start in range(0, len(texts), MODEL_CLASSES):
        some = texts[start : start + MODEL_CLASSES]
        yield [*some, *map(str, range(len(some), MODEL_CLASSES))]


def draw(browser: Browser, client: httpx.Client, names: list[str]) -> None:
    """Draws a digit on the page: it shows each class as text; metrics and card can be read."""
    messages: list[str] = []
    page = open_page(browser)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(str(client.base_url))
    draw_with_mouse(page, SEVEN)
    expect(page.locator("#answer.result")).to_be_visible()
    shown = sorted(page.locator("#bars th").all_text_contents())
    assert shown == sorted(name.encode(errors="backslashreplace").decode() for name in names), shown
    assert page.title() != "1" and messages == [] and page.locator("#bars img, #bars script").count() == 0
    page.close()
    CHECKS["metrics"](text := client.get("/metrics").raise_for_status().text, text, "")
    assert len(client.get("/card").raise_for_status().json()["classes"]) == MODEL_CLASSES


def upload(client: httpx.Client, payload: str) -> None:
    """Sends a path, a header and a file with this name: the answers are JSON."""
    plain = payload.encode("ascii", "backslashreplace").decode()
    sent = "".join(letter for letter in plain if letter.isprintable())
    answer = client.post(f"/{sent}", headers={"X-Name": sent, "User-Agent": sent}, content=b"x")
    assert answer.headers["content-type"].startswith("application/json"), answer.headers
    assert answer.status_code in (400, 404, 405), answer.status_code
    refused = client.post("/predict", files={"image": (sent, b"no picture", "image/png")})
    assert refused.status_code in (400, 415, 422), refused.status_code
    assert refused.headers["content-type"].startswith("application/json"), refused.headers
