"""A bound of memory for the files that a process reads."""

import resource
import threading
from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import DataError
from stages.data import memory
from stages.data.memory import BASE, bound, limited_memory, machine_memory, share_of_machine
from tests.support.commands import run_python


def test_more_than_the_bound_is_an_error_of_the_data() -> None:
    """An allocation beyond the bound becomes one sentence, and the process goes on without the bound."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    message = f"^there is not enough memory for the images, expected to need at most {bound(1_000):,} bytes; use fewer$"
    with pytest.raises(DataError, match=message), limited_memory(1_000, "the images", "use fewer"):
        np.ones(BASE + 500_000_000, np.uint8)  # earlier tests may free memory meanwhile, which it may use again
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_bounds_of_several_threads() -> None:
    """While one of several blocks runs, its bound holds; after the last one the old limit is there again."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    is_in, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with limited_memory(0, "a", "r"):
            is_in.set()
            is_over.wait(240)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_in.wait(240)
    with limited_memory(10**9, "b", "r"):
        low = resource.getrlimit(resource.RLIMIT_DATA)[0]
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == low != before[0]
    is_over.set()
    thread.join()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "4294967296\n"}, 4 << 30),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2000000000\n"}, 2_000_000_000),
        ("4:memory:/docker/x\n0::/\n", {"memory/memory.limit_in_bytes": "3000000000\n"}, 3_000_000_000),
        ("3:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": "1000000000\n"}, 1_000_000_000),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("", {}, None),
    ],
)
def test_memory_of_a_container(tmp_path: Path, groups: str, files: dict[str, str], expected: int | None) -> None:
    """A container may have less memory than its machine."""
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": files[name] for name in files}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert machine_memory(tmp_path) == pytest.approx(expected or machine, rel=1e-3)


@pytest.mark.parametrize("memory_gb", [4, 8, 16, 64])
def test_bound_fills_no_machine(memory_gb: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left for other programs is a third of the machine at least."""
    monkeypatch.setattr(memory, "machine_memory", lambda: memory_gb * 10**9)
    assert bound(share_of_machine()) <= memory_gb * 10**9 * 2 // 3
    assert bound(10**12) <= memory_gb * 10**9 * 2 // 3
    assert bound(0) == min(BASE, memory_gb * 10**9 * 2 // 3)


def test_system_that_tells_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the memory that the process has, nothing is bounded: it may have more than the bound already."""
    monkeypatch.setattr(memory, "STATM", tmp_path / "absent")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limited_memory(0, "a", "r"):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limit_of_the_shell_is_named(kind: str) -> None:
    """Where a limit of the shell is lower than the bound, the message names it."""
    code = (
        "import resource\nfrom stages.data.memory import limited_memory\n"
        f"resource.setrlimit(resource.{kind}, (1 << 30, 1 << 30))\n"
        "with limited_memory(10**9, 'the data', 'use less'):\n    bytearray(2 << 30)"
    )
    done = run_python("-c", code)
    assert "there is not enough memory for the data: a limit leaves" in done.stderr
    assert "raise it (ulimit -v, ulimit -d), then run again" in done.stderr
