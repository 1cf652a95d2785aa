"""A page over all versions that headless Chromium has loaded."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


class Loaded:
    """A page that has drawn its charts, with its requests and its messages in the console."""

    def __init__(
        self, browser: Browser, path: Path, address: str = "", *, phone: bool = False, dark: bool = False
    ) -> None:
        scheme = "dark" if dark else "light"
        self.page: Page = browser.new_page(viewport=PHONE if phone else DESK, color_scheme=scheme)  # type: ignore[arg-type]
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def names(self) -> list[str]:
        """Returns the texts of the lines' names."""
        return [button.inner_text() for button in self.page.locator("tr.line .name").all()]

    def line(self, text: str) -> Any:
        """Returns the line with a text."""
        return self.page.locator("tr.line", has_text=text).first
