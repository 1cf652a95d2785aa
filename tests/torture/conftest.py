"""Fixtures of the tests that try promises by force."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.support.root import ROOT
from tests.torture.promises import Promise, kept

RECORD = "INKFLOW_TORTURE"  # set by `make torture`: the file of the record; the tests are thorough then

Try = Callable[[str, str, str], AbstractContextManager[Promise]]
Rounds = Callable[[int, int], int]


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
