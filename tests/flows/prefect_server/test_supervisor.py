"""Processes that `inkflow up` keeps up: which die too often, and which only now and then."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.prefect_server import supervisor
from flows.prefect_server.supervisor import RESTARTS, Child
from stages.base.errors import InkflowError


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A process that ends at once, and complains; it was started."""
    (tmp_path / "short.py").write_text("raise SystemExit('no luck')\n")
    child = Child("worker", ["short"], {"PYTHONPATH": str(tmp_path)}, tmp_path / "log")
    child.start(tmp_path)
    yield child
    assert child.process is not None
    child.process.wait(30)


def die(child: Child, root: Path, times: int) -> None:
    """Let it end and be started again so often."""
    for _ in range(times):
        assert child.process is not None
        child.process.wait(30)
        assert child.ensure(root)


def test_what_dies_again_and_again_is_given_up(child: Child, tmp_path: Path) -> None:
    """After so many restarts one soon after another the process does not stay up: its last words are said."""
    die(child, tmp_path, RESTARTS)
    with pytest.raises(InkflowError, match=r"worker does not stay up: .*no luck"):
        die(child, tmp_path, 1)


def test_what_dies_now_and_then_is_started_again(child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was up for a while before it died is started again, however often that was before."""
    die(child, tmp_path, RESTARTS)
    monkeypatch.setattr(supervisor, "STEADY_S", 0.2)  # ten minutes otherwise
    time.sleep(0.3)
    die(child, tmp_path, 1)
    monkeypatch.undo()
    die(child, tmp_path, RESTARTS - 1)
