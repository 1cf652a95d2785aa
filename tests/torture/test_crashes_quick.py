"""A small project, killed and on a full disk: the trials of the crashes that `make test` has."""

from pathlib import Path

from tests.torture.promises import Promise
from tests.torture.support.campaigns import SUBJECT, possible_faults, try_plans
from tests.torture.support.crash_toy import make_toy


def test_a_kill_and_a_fault(tmp_path: Path) -> None:
    """After a kill of a run and a fault of its machine a plain run is as if nothing had happened."""
    faults = [name for name in possible_faults(tmp_path) if name in ("disk_full", "read_only")][:1]
    tried = Promise(SUBJECT, "The next run is correct.", "")
    done = try_plans(tried, make_toy(tmp_path / "made"), tmp_path, [{"download": ["flow"], "prepare": faults}])
    tried.check()
    assert tried.attempts == done.total() == 1 + len(faults), tried.how
    assert "everything after 2 plain runs: 1 in copies " in tried.how
