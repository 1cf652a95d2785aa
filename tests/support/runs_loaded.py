"""A page over all versions that headless Chromium has loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ViewportSize

from tests.support.loaded_page import LoadedPage

DESK = ViewportSize(width=1280, height=900)


class Loaded(LoadedPage):
    """A page that has drawn its charts."""

    desk = DESK

    def __init__(
        self, browser: Browser, path: Path, address: str = "", *, phone: bool = False, dark: bool = False
    ) -> None:
        super().__init__(browser, path, address, phone=phone, dark=dark)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def names(self) -> list[str]:
        """Returns the texts of the lines' names."""
        return [button.inner_text() for button in self.page.locator("tr.line .name").all()]

    def line(self, text: str) -> Any:
        """Returns the line with a text."""
        return self.page.locator("tr.line", has_text=text).first


Open = Callable[..., Loaded]  # the fixture `opened`
