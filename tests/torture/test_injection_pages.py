"""Pages that are made of the texts of strangers have no element of theirs, and run nothing in a browser."""

import random
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, expect

from tests.stages.serve.test_serve_browser import SEVEN, draw_with_mouse
from tests.support.chromium import NEEDS_CHROMIUM, open_chromium, open_page
from tests.support.model_server import model_server
from tests.support.pictures import write_reader
from tests.torture.conftest import Rounds, Try
from tests.torture.support.hostile import CHECKS, HARMLESS, PAYLOADS
from tests.torture.support.pages import PAGES

SUBJECT = "Injection and secrets"
OPEN_ALL = """() => {
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const part of document.querySelectorAll("[title], a, td")) part.dispatchEvent(new Event("mouseover"));
}"""
KINDS = {"page": "html", "summary": "markdown", "models": "csv"}
NOT_IN_FILES = ("not utf-8", "absolute path")  # no JSON, YAML or Git name has them
SEED = 17


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
@pytest.mark.timeout(900)
@pytest.mark.skipif(NEEDS_CHROMIUM[1].args[0], reason="needs Chromium: apt-get install chromium")
@pytest.mark.farm
def test_pages_of_strangers(promise: Try, rounds: Rounds, tmp_path: Path) -> None:
    """Report, comparison and the page of all versions have no element of a stranger, and run nothing of theirs."""
    names = sorted(set(PAYLOADS) - set(NOT_IN_FILES))
    dice = random.Random(SEED)
    together = " ".join(PAYLOADS[name] for name in ("html", "html in an attribute", "end of a script", "vega", "link"))
    how = "data sets, classes, parameters, branches, tags, authors and messages with HTML and scripts, in Chromium"
    sentence = "A page that shows names from strangers runs none of their scripts."
    with promise(SUBJECT, sentence, how) as tried, open_chromium() as browser:
        for page, write in PAGES.items():
            harmless = write(tmp_path / page / HARMLESS, HARMLESS)
            for name in [None, *dice.sample(names, rounds(0, 5))]:
                text = together if name is None else PAYLOADS[name]
                with tried.attempt(f"{page}, {name or 'all of HTML'}, seed {SEED}"):
                    written = write(tmp_path / page / f"of {name}", text)
                    for part, content in written.items():
                        CHECKS[KINDS[part]](content, harmless[part], text)
                    path = tmp_path / "page.html"
                    path.write_text(written["page"], encoding="utf-8")
                    title, requests, messages = opened(browser, path)
                    assert title != "1" and requests == [] and messages == [], (title, requests, messages)


@pytest.mark.browser
@pytest.mark.skipif(NEEDS_CHROMIUM[1].args[0], reason="needs Chromium: apt-get install chromium")
def test_page_of_a_server(promise: Try, tmp_path: Path) -> None:
    """The page of `inkflow serve` shows classes of a stranger's model as text; names of uploads come back as text."""
    names = [PAYLOADS["html"], PAYLOADS["end of a script"], PAYLOADS["link"], *map(str, range(3, 10))]
    write_reader(tmp_path / "models/reader/model.onnx", names)
    how = "class names and names of uploads with HTML, scripts and line ends, in Chromium and over HTTP"
    with (
        promise(SUBJECT, "A served model's page and answers show strangers' names as text.", how) as tried,
        open_chromium() as browser,
        model_server(tmp_path, "reader") as client,
    ):
        with tried.attempt("a drawing"):
            messages: list[str] = []
            page = open_page(browser)
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.goto(str(client.base_url))
            draw_with_mouse(page, SEVEN)
            expect(page.locator("#answer.result")).to_be_visible()
            assert page.locator("#bars tr").count() == 10 and page.locator("#bars th").first.inner_text()
            assert page.title() != "1" and messages == [] and page.locator("#bars img, #bars script").count() == 0
        for name, payload in PAYLOADS.items():
            with tried.attempt(f"upload and header, {name}"):
                plain = payload.encode("ascii", "backslashreplace").decode()
                sent = "".join(letter for letter in plain if letter.isprintable())
                answer = client.post(f"/{sent}", headers={"X-Name": sent, "User-Agent": sent}, content=b"x")
                assert answer.headers["content-type"].startswith("application/json"), answer.headers
                assert answer.status_code in (400, 404, 405), answer.status_code
                upload = client.post("/predict", files={"image": (sent, b"no picture", "image/png")})
                assert upload.status_code in (400, 415, 422), upload.status_code
                assert upload.headers["content-type"].startswith("application/json"), upload.headers
        log = (tmp_path / "serve.log").read_text()
        with tried.verdict("the log"):
            CHECKS["terminal"](log, log, "")
    assert not list(tmp_path.rglob("canary"))
