"""The finished runs that many tests of the report read, and their page in a browser."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from stages.charts.pages import page_environment
from stages.report import report
from tests.support.report_data import HIDDEN_LAYERS, Run, finish_run, small_digits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.loaded_page import LoadedPage

FEW = 150  # test images of `two_models`


@pytest.fixture(scope="session", autouse=True)
def kept_templates() -> Iterator[None]:
    """Keeps the compiled templates: a stage renders one page, these tests render many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.report.page.page.page_environment", functools.cache(page_environment))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with digits, three models and a report; read-only."""
    run = finish_run(tmp_path_factory.mktemp("finished"), small_digits(), HIDDEN_LAYERS)
    assert report.main(run.arguments()) == 0
    return run


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with two of these models, few test images and a report, which tests copy to make a report anew."""
    digits = small_digits()
    few = digits._replace(x_test=digits.x_test[:FEW], y_test=digits.y_test[:FEW])
    layers = {name: HIDDEN_LAYERS[name] for name in ("dense", "cnn")}
    run = finish_run(tmp_path_factory.mktemp("two_models"), few, layers)
    assert report.main(run.arguments()) == 0
    return run


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, for the tests of this folder."""
    from tests.support.chromium import open_chromium  # late: most tests need none, and Playwright is slow to import

    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def desk(browser: "Browser", finished: Run) -> "LoadedPage":
    """The page of `finished` on a desk; a test that changes what it shows calls `visit` first."""
    from tests.support.loaded_page import LoadedPage

    return LoadedPage(browser, finished.out / "index.html")
