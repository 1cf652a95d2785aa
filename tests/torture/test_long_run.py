"""Many runs of a deployment in a row: what server, worker and project use does not grow."""

from pathlib import Path

import pytest

from tests.torture.conftest import Rounds, Try
from tests.torture.long_run.chart import draw
from tests.torture.long_run.growth import BOUNDS, QUIET, excesses
from tests.torture.long_run.runs import Row, make_runs

SEED = 17
FEW, MANY = 3, 60
PRUNE_EVERY = 5  # runs of many: twelve rows of what stays after a prune
TIMES = {"run_cpu_s", "run_s", "prune_s"}


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(3000)
def test_long_run(tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Run after run with changed parameters completes, and nothing grows by more than its bound."""
    text = (
        "Runs of a deployment in a row complete, and memory, open files, disk, database, and the times of a run and of "
        "a prune grow by less than their bounds."
    )
    how = "runs with changed and unchanged parameters and settings under `inkflow up`, with `inkflow prune`"
    count = rounds(FEW, MANY)
    with promise("Long run", text, how) as tried:
        rows = list(make_runs(tmp_path / "long", count, SEED, prune_every=min(count, PRUNE_EVERY)))
        tried.count(len(rows) - 1)
        with tried.attempt(f"{len(rows)} runs of seed {SEED}"):
            assert len(rows) == count
            assert not excesses(rows) or count == FEW, excesses(rows)
            assert rows[-1]["pruned"] and rows[-1]["processes"] <= PROCESSES, rows[-1]


PROCESSES = 4  # `inkflow up`, its watchdog, the server, the worker and its fork server; the watchdog has no mark


def test_growth_is_found() -> None:
    """Each quantity that grows by more than its bound is named with its growth; one that stays is not."""
    rows = [_row(number, 0.0) for number in range(1, 101)]
    assert excesses(rows) == []
    for name, bound in BOUNDS.items():
        grown = [row | {name: 2 * bound.limit * row["run"]} for row in rows]
        found = excesses(grown)
        assert f"{name} grows by {2 * bound.limit:.4g} a run in the second half" in "".join(found)
        assert {sentence.split()[0] for sentence in found} == {name}


def test_growth_in_the_first_half_is_found() -> None:
    """A quantity that grows in the first half alone is named, but for one whose caches fill there."""
    for name, bound in BOUNDS.items():
        grown = [_row(number, 0.0) | {name: 2 * bound.limit * min(number, 50)} for number in range(1, 101)]
        found = [sentence for sentence in excesses(grown) if "first half" in sentence]
        assert len(found) == (0 if bound.fills else 1) and all(name in sentence for sentence in found)


def test_a_step_is_found() -> None:
    """What grew by more than its whole bound at one run is named, though it grows neither before nor after it."""
    for name, bound in BOUNDS.items():
        [sentence] = excesses(
            [_row(number, 0.0) | {name: (bound.total + 1) * (number > 40)} for number in range(1, 101)]
        )
        assert sentence.startswith(f"{name} grows by {bound.total + 1:.4g} from first to last")


def test_other_work_on_the_machine_is_no_growth() -> None:
    """Times that grow as that of the fixed work does are those of a busy machine; those that grow alone are named."""
    rows = [_row(number, 2.0) for number in range(1, 101)]
    slower = [row | {name: row[name] * row["run"] for name in (*TIMES, *QUIET)} for row in rows]
    assert excesses(slower) == []
    assert {sentence.split()[0] for sentence in excesses([row | dict.fromkeys(QUIET, 1.0) for row in slower])} == TIMES


def test_a_peak_is_no_growth() -> None:
    """One run that needs much more than the others does not count as growth."""
    rows = [_row(number, 1000.0 * (number == 80)) for number in range(1, 101)]
    assert excesses(rows) == []


def test_chart(tmp_path: Path) -> None:
    """The chart of the runs has a panel for each group of quantities, the time of a run among them."""
    draw([_row(number, number) | {"run_s": 1.0} for number in range(1, 51)], tmp_path / "chart.svg")
    chart = (tmp_path / "chart.svg").read_text()
    assert "Server's database, MB" in chart and "Time of a run, s" in chart


def _row(number: int, value: float) -> Row:
    return {"run": number, "pruned": number % 10 == 0} | dict.fromkeys(BOUNDS, value) | QUIET
