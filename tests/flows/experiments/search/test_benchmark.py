"""The benchmark of searches: it ends if its processes do, and counts trials that failed."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search import found_of, wait_for


def test_the_benchmark_ends_with_its_processes(tmp_path: Path) -> None:
    """If all processes have ended before enough trials have, an error says so."""
    with subprocess.Popen(["false"]) as process:
        process.wait()
        with pytest.raises(RuntimeError, match=r"0 of 1\.5 trials had ended"):
            wait_for(tmp_path, 1.5, [process])
    (tmp_path / "journal").write_text('{"op_code":6}\n' * 2)
    wait_for(tmp_path, 1.5, [process])


def test_failed_trials_have_no_value() -> None:
    """The best value is that of the complete trials, and a failed one has no experiment that could be missing."""
    rows: list[dict[str, Any]] = [
        {"trial": number, "state": "complete", "value": 2 - number, "experiment": f"e{number}"} for number in (0, 1)
    ]
    rows.append({"trial": 2, "state": "failed", "value": None, "experiment": None})
    found = found_of(rows, ["e0"])
    assert (found["complete"], found["experiments missing"], found["best"]) == (2, 1, 1)
    assert found_of(rows[2:], [])["best"] is None
