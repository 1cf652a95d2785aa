"""Fixtures of the engine's tests."""

from collections.abc import Iterator

import pytest

from tests.conftest import Toy
from tests.flows.engine.helpers import stage_processes


@pytest.fixture
def no_orphans(toy: Toy) -> Iterator[None]:
    """Fails if a process of a stage runs after the test."""
    yield
    assert stage_processes(toy.folder) == []
