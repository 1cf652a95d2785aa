"""The last line of a plan: how many stages have which verdict, and how long the work takes as far as it is known."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli.plan import _row, print_table
from flows.engine.planning.plan import Decision, Verdict
from flows.engine.policy import Policies
from flows.engine.timings import Timings


def row(stage: str, verdict: str = "run", expected_s: float | None = 2.0, **more: Any) -> dict[str, Any]:
    """Returns a row of a plan."""
    rest: dict[str, Any] = {"reasons": [], "pool": None, "memory": 0, "mutex": []}
    return {"stage": stage, "verdict": verdict, "expected_s": expected_s} | rest | more


def printed(rows: list[dict[str, Any]], *, is_terminal: bool = False, notes: tuple[str, ...] = ()) -> list[str]:
    """Returns the lines of a plan."""
    console = Console(file=io.StringIO(), width=120, force_terminal=is_terminal, color_system=None)
    print_table(rows, notes, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("expected", "end"),
    [
        ([2.0, 3.0], "2 run; 5.0 s of work, by earlier runs here"),
        ([2.0, None], "2 run; at least 2.0 s of work, by earlier runs here"),
        ([None, None], "2 run; no earlier runs here to estimate the time from"),
        ([None, 0.0], "2 run; no earlier runs here to estimate the time from"),
        ([0.0, 0.0], "2 run"),
    ],
)
def test_the_expected_time(expected: list[float | None], end: str) -> None:
    """The time is a sum; `at least` if one stage of several has never run here, and nothing where none is known."""
    assert printed([row(str(number), expected_s=value) for number, value in enumerate(expected)])[-1] == end


def test_verdicts_are_counted() -> None:
    """Each verdict that occurs has its number, in the order of the verdicts."""
    rows = [row("a", "unchanged", 0.0), row("b", "restore", 0.0), row("c"), row("d", "may run")]
    assert printed(rows)[-1] == "1 unchanged, 1 restore, 1 run, 1 may run; 4.0 s of work, by earlier runs here"


def test_nothing_to_do_is_said_of_stages_alone() -> None:
    """A plan with one stage to run has a table; one without stages says that there are none."""
    assert len(printed([row("a", "unchanged", 0.0), row("b")])) > 3
    assert "".join(printed([])).strip() == "Nothing to do: dvc.yaml has no stages."


def test_changed_comments_are_shown() -> None:
    """A run that only records new hashes of code has something to do: the plan names the file."""
    lines = printed([row("a", "unchanged", 0.0, reasons=["comments only in a.py"]), row("b", "unchanged", 0.0)])
    assert any(line.split()[:2] == ["a", "unchanged"] and "comments only in a.py" in line for line in lines)
    assert lines[-1] == "2 unchanged"


@pytest.mark.parametrize("count", [40, 41])
def test_groups_of_many_rows(count: int) -> None:
    """From the 41st row on, a terminal shows neighbours of a group as one row; of three or fewer each one."""
    rows = [row(f"train@{number:02}", reasons=["a changed"]) for number in range(count - 3)]
    rows += [row(f"check@{number}", "may run") for number in range(3)]
    lines = printed(rows, is_terminal=True)
    is_grouped = count == 41
    assert any(line.startswith("train@* (38)") and "a changed" in line for line in lines) == is_grouped
    assert sum(line.startswith("check@") for line in lines) == 3
    assert len(printed(rows)) > count  # not in a file


@pytest.mark.parametrize(
    ("other", "duration", "reason"),
    [
        ({}, "1 min 20 s", "same"),
        ({"expected_s": None}, "unknown", "same"),
        ({"reasons": ["other"]}, "1 min 20 s", ""),
    ],
)
def test_a_group_says_what_all_of_it_share(other: dict[str, Any], duration: str, reason: str) -> None:
    """A group has the sum of its durations if all are known, and a reason if it is that of all."""
    rows = [row(f"train@{number:02}", reasons=["same"]) for number in range(39)]
    rows += [row("train@39", **({"reasons": ["same"]} | other)), row("alone@1"), *(row(f"few{n}") for n in range(3))]
    line = next(line for line in printed(rows, is_terminal=True) if line.startswith("train@*"))
    assert line.split(maxsplit=3)[0:3] == ["train@*", "(40)", "run"]
    assert duration in line and ("same" in line) == bool(reason) and "other" not in line


def test_four_of_a_group_are_grouped() -> None:
    """Four neighbours of a group are one row, and two groups stay two."""
    rows = [row(f"{group}@{number}") for group in ("a", "b") for number in range(4)]
    rows += [row(f"single{number}") for number in range(40)]
    starts = [line.split("  ")[0] for line in printed(rows, is_terminal=True)]
    assert starts[1:-2] == ["a@* (4)", "b@* (4)", *(f"single{number}" for number in range(40))]


@pytest.mark.parametrize(
    ("verdict", "policy", "reasons"),
    [
        (Verdict.RUN, {"memory": 101}, ["changed", "needs 101B of memory, this machine has 100B for stages"]),
        (Verdict.MAY_RUN, {"memory": 101}, ["changed", "needs 101B of memory, this machine has 100B for stages"]),
        (Verdict.RUN, {"memory": 100}, ["changed"]),
        (Verdict.RUN, {"memory": 101, "pool": "gpu"}, ["changed"]),
        (Verdict.RESTORE, {"memory": 101}, ["changed"]),
    ],
)
def test_a_stage_that_needs_more_than_the_machine_has(
    tmp_path: Path, verdict: Verdict, policy: dict[str, Any], reasons: list[str]
) -> None:
    """A stage that would run here says that it needs more memory than there is; only one that runs takes time."""
    policies = Policies.model_validate({"stages": {"a": policy}, "resources": {"memory": 100}})
    timings = Timings(tmp_path)
    timings.add("a", 7)
    timings.save()
    found = _row(Decision("a", verdict, ("changed",)), timings, policies, ())
    assert found["reasons"] == reasons
    assert found["expected_s"] == (0.0 if verdict is Verdict.RESTORE else 7)
    assert (found["pool"], found["memory"], found["mutex"]) == (policy.get("pool"), policy["memory"], [])


def test_columns_of_needs() -> None:
    """Pool, memory and mutex have a column if one stage has them; notes stand at the end, each in its line."""
    lines = printed([row("a", pool="gpu"), row("b", memory=2**30), row("c", mutex=["x", "y"])], notes=("first", "last"))
    assert lines[0].split() == ["stage", "verdict", "expected", "pool", "memory", "mutex", "why"]
    assert [line.split()[4:] for line in lines[1:4]] == [["gpu"], ["here", "1.0GiB"], ["here", "x,", "y"]]
    assert lines[-2:] == ["note: first", "note: last"]
    assert printed([row("a")])[0].split() == ["stage", "verdict", "expected", "why"]
