"""Which process of `make test` runs which module."""

import pytest

from tests.support.distribution import ONE_PROCESS, share_of
from tests.support.root import ROOT


def test_one_process_has_the_prefect_server(request: pytest.FixtureRequest) -> None:
    """All modules of `make test` with the fixture `prefect_url` share a process: one server is started."""
    items = [item for item in request.session.items if "prefect_url" in getattr(item, "fixturenames", ())]
    quick = [item.nodeid for item in items if not item.get_closest_marker("farm")]
    assert sorted({nodeid for nodeid in quick if share_of(nodeid) != ONE_PROCESS[0][0]}) == []


def test_groups_name_modules_that_exist() -> None:
    """Each beginning of a path in a group is that of a module of the repository."""
    modules = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    for beginning in [beginning for group in ONE_PROCESS for beginning in group]:
        assert any(module.startswith(beginning) for module in modules), beginning
