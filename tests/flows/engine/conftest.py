"""Fixtures of the engine's tests."""

from collections.abc import Iterator

import pytest

from tests.conftest import Toy
from tests.flows.engine.toys import stage_processes


@pytest.fixture
def no_stray(toy: Toy) -> Iterator[None]:
    """After the test nothing runs any more that a stage started."""
    yield
    assert stage_processes(toy.folder) == []
