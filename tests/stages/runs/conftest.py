"""The history that the tests of the page over all versions read, and a browser for its pages."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows.cli.runs.report_runs import collect
from stages.runs.content import page_content
from stages.runs.page import render_page
from tests.support.runs_pages import make_history

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.runs_loaded import Loaded


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


@pytest.fixture(scope="session")
def original(history: Path) -> dict[str, Any]:
    """The content of a page with three sweeps; read-only."""
    return page_content(collect(history))


@pytest.fixture
def content(original: dict[str, Any]) -> dict[str, Any]:
    """A copy of it, to be changed."""
    return copy.deepcopy(original)


@pytest.fixture
def opened(browser: "Browser", content: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., "Loaded"]]:
    """Returns a function that opens the page of the changed content at an address."""
    from tests.support.runs_loaded import Loaded  # late, as Playwright

    pages: list[Loaded] = []

    def load(address: str = "") -> Loaded:
        path = tmp_path / "runs.html"
        path.write_text(render_page(content), encoding="utf-8")
        pages.append(Loaded(browser, path, address))
        return pages[-1]

    yield load
    assert [message for loaded in pages for message in loaded.messages] == []
    for loaded in pages:
        loaded.page.close()
