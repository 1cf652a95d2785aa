"""Many runs of a deployment in a row: what server, worker and project use does not grow."""

from pathlib import Path

import pytest

from tests.torture.conftest import Rounds, Try
from tests.torture.long_run.chart import draw
from tests.torture.long_run.growth import BOUNDS, excesses
from tests.torture.long_run.runs import Row, make_runs

SEED = 17
FEW, MANY = 3, 60


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(3000)
def test_long_run(tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """Run after run with changed parameters completes, and nothing grows by more than its bound."""
    text = (
        "Runs of a deployment in a row complete, and memory, open files, disk, database and time of a run grow by less "
        "than their bounds."
    )
    how = "runs with changed and unchanged parameters and settings under `inkflow up`, with `inkflow prune`"
    count = rounds(FEW, MANY)
    with promise("Long run", text, how) as tried:
        rows = list(make_runs(tmp_path / "long", count, SEED, prune_every=count if count == FEW else 10))
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
        grown = [_row(number, 0.0) | {name: 2 * bound.limit * number} for number in range(1, 101)]
        [sentence] = excesses(grown)
        assert sentence.startswith(f"{name} grows by {2 * bound.limit:.4g} a run")


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
    return {"run": number, "pruned": number % 10 == 0} | dict.fromkeys(BOUNDS, value)
