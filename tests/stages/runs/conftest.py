"""The history that the tests of the page over all versions read, and a browser for its pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.runs_pages import make_history

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with broken versions and sweeps of one, two and three parameters; read-only."""
    return make_history(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, for the tests of this folder."""
    from tests.support.chromium import open_chromium  # late: most tests need none, and Playwright is slow to import

    with open_chromium() as browser:
        yield browser
