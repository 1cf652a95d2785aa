"""Fixtures of the tests that try promises by force."""

import json
import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager

import pytest

from tests.support.root import ROOT
from tests.torture.promises import Promise, kept

RECORD = "INKFLOW_TORTURE"  # set by `make torture`: the file of the record; the tests are thorough then

Try = Callable[[str, str, str], AbstractContextManager[Promise]]
Rounds = Callable[[int, int], int]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Names the skipped trials in the record: their promises keep the numbers of an earlier one."""
    report = yield
    record = os.environ.get(RECORD)
    if record and report.skipped and "promise" in getattr(item, "fixturenames", ()):
        with (ROOT / record).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"skipped": item.nodeid}) + "\n")
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Names the failed trials in the record, once: those too that end before their promise, or with their process."""
    record = os.environ.get(RECORD)
    if record and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with (ROOT / record).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"failed": report.nodeid}) + "\n")


@pytest.fixture
def rounds() -> Rounds:
    """How often to try: `rounds(few, many)` is `few` in `make test`, `many` in `make torture`."""
    return lambda few, many: many if os.environ.get(RECORD) else few


@pytest.fixture
def promise() -> Try:
    """Gives the context of a promise: its name is in the record, and `attempt(name)` of it is one try."""
    record = os.environ.get(RECORD)
    path = ROOT / record if record else None  # other fixtures may have left the folder
    return lambda subject, text, how: kept(Promise(subject, text, how), path)
