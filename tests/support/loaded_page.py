"""A report in a browser, with its requests, its messages in the console, and what axe-core says of it."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize

from tests.support.chromium import open_page

PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=800)
# Shows everything that a selection, a tab or a closed part hides.
OPEN_ALL = """() => {
  for (const part of document.querySelectorAll(".screen, article, .tab")) part.hidden = false;
  for (const details of document.querySelectorAll("details")) details.open = true;
}"""
# Ends when the page has followed its new address.
VISIT = """state => new Promise(done => {
  if (location.hash === state) return done();
  addEventListener("hashchange", () => done(), { once: true });
  location.hash = state;
})"""


class LoadedPage:
    """A page loaded from its file, with its requests and its messages in the console."""

    desk = DESK  # the window of a desk

    def __init__(
        self, browser: Browser, path: Path, state: str = "", *, phone: bool = False, dark: bool = False
    ) -> None:
        scheme = "dark" if dark else "light"
        self.page: Page = open_page(browser, viewport=PHONE if phone else self.desk, color_scheme=scheme)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + state)

    def visit(self, state: str) -> Page:
        """Goes to another state by its address, as a link does, which loads nothing; returns the page."""
        self.page.evaluate(VISIT, state)
        return self.page

    def violations(self, part: str | None = None) -> list[str]:
        """Returns the violations that axe-core finds on the page, or in a `part` of it, by rule and element."""
        violations = Axe().run(self.page, context=part).response["violations"]
        return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in violations]

    def overflow(self) -> int:
        """Returns the pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))
