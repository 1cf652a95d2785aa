"""The history that the tests of the page over all versions read."""

from pathlib import Path

import pytest

from tests.support.runs_pages import make_history


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with broken versions and sweeps of one, two and three parameters; read-only."""
    return make_history(tmp_path_factory.mktemp("project"))
