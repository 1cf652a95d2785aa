"""Headless Chromium for the browser tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
WAIT_MS = 240_000  # on a busy machine
expect.set_options(timeout=WAIT_MS)


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Starts Chromium, and ends it after the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=WAIT_MS)
        yield browser
        browser.close()


def open_page(browser: Browser, **options: Any) -> Page:
    """Opens an empty page, whose actions wait for WAIT_MS; `options` are those of `Browser.new_page`."""
    page = browser.new_page(**options)
    page.set_default_timeout(WAIT_MS)
    return page
