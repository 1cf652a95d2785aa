"""A disk that is nearly full needs a person."""

import shutil
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from flows.cli.main import main as inkflow
from flows.status.parts import EXIT_NEEDS_PERSON
from stages.base.errors import EXIT_DONE
from tests.conftest import Toy

GB = 1e9


def disk(used: float, free_bytes: float, reserved: float) -> Callable[[object], SimpleNamespace]:
    """Returns what is said of a disk with so many bytes free, of which these shares are used, and kept for root."""
    total = free_bytes / (1 - used - reserved)
    return lambda _: SimpleNamespace(total=total, used=used * total, free=free_bytes)


@pytest.mark.parametrize(
    ("used", "free_bytes", "reserved", "is_full"),
    [
        (0.96, 1.9 * GB, 0.0, True),
        (0.96, 2.1 * GB, 0.0, False),
        (0.94, 1.0 * GB, 0.0, False),
        (0.94, 1.9 * GB, 0.05, True),  # ext4 keeps 5 % for root
    ],
)
def test_a_full_disk_needs_a_person(
    toy: Toy,
    used: float,
    free_bytes: float,
    reserved: float,
    is_full: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Above 95 % with less than 2 GB free the status names the disk and a command, and its exit code is 3."""
    monkeypatch.setattr(shutil, "disk_usage", disk(used, free_bytes, reserved))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert EXIT_NEEDS_PERSON == 3
    assert inkflow(["status"]) == (EXIT_NEEDS_PERSON if is_full else EXIT_DONE)
    said = capsys.readouterr().out
    assert ("! the disk is full: 1.9 GB free" in said) == is_full == ("inkflow prune" in said)
