"""How much each quantity grows from run to run, and how much it may."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

PRUNED, OTHERS, ALL = (True,), (False,), (True, False)  # rows, by their `pruned`
ENDS = 5  # rows at each end, of which the median counts
QUIET = {"pace_s": 0.2, "pace_cpu_s": 0.12}  # fixed work on a quiet machine with two cores (Intel Xeon)
ERROR = "at a load of 14 to 20 the slope of 30 runs errs by 0.01 s"

Rows = Sequence[Mapping[str, Any]]


class Bound(NamedTuple):
    """What a quantity may grow by.

    Times are converted to those of a quiet machine: fixed work, timed after the same run, shows how much slower the
    machine is just then. So other work that begins meanwhile is no growth.

    Attributes:
        limit: with each run, in each half of the runs; in the unit of the quantity.
        total: from the first rows to the last, of at most 500 runs.
        why: what grows at all, or what the limit would find.
        rows: which are measured; those after a prune have no run under way.
        fills: caches fill in the first half, which is not judged by `limit`.
        pace: the time of the fixed work by which it is converted.
    """

    limit: float
    total: float
    why: str
    rows: tuple[bool, ...] = PRUNED
    fills: bool = False
    pace: str = ""


class Growth(NamedTuple):
    """Growth with each run in the first and the second half of the runs, and from the first rows to the last."""

    first: float
    second: float
    total: float


BOUNDS = {
    "server_mb": Bound(0.3, 80, "its caches fill; a TLS context kept for each run would be 0.3 MB", ALL, fills=True),
    "worker_mb": Bound(
        0.3, 60, "what a run leaves until Python's next full collection; without these it is 0.6 MB", ALL, fills=True
    ),
    "fork_server_mb": Bound(0.02, 2, "imports only", ALL, fills=True),
    "up_mb": Bound(0.02, 2, "two polls a second", ALL, fills=True),
    "open_files": Bound(0.3, 10, "a socket that one run of four leaves open; those of idle connections come and go"),
    "processes": Bound(0.05, 0, "a process that is left by one run of twenty"),
    "cache_mb": Bound(0.01, 0.3, "results of the five experiments, which a person keeps", fills=True),
    "dvc_tmp_mb": Bound(0.002, 0.05, "no clone of a run stays"),
    "git_mb": Bound(0.01, 2, "objects of replaced experiments, until Git packs them at a prune", fills=True),
    "state_mb": Bound(0.006, 3, "a record of 4 kB for each run that does something, the last 1,000 of them"),
    "home_mb": Bound(0.006, 3, "2 kB of the worker's log for each run, until `inkflow up` cuts it at 5 MB"),
    "database_mb": Bound(
        0.05, 10, "removed rows leave pages that SQLite uses again; rows of a run that stay take 0.1 MB", fills=True
    ),
    "temporary_mb": Bound(0.001, 0.01, "nothing stays in the folder for temporary files"),
    "run_cpu_s": Bound(
        0.05, 2, f"processor time of all processes for a run, of 2 s; {ERROR}", OTHERS, pace="pace_cpu_s"
    ),
    "run_s": Bound(0.05, 2, f"a run takes 1 s; {ERROR}", ALL, pace="pace_s"),
    "prune_s": Bound(0.05, 2, f"a prune takes 1 s; {ERROR}", pace="pace_s"),
}


def growths(rows: Rows) -> dict[str, Growth]:
    """Returns the growth of each quantity."""
    middle = len(rows) // 2
    found = {}
    for name, bound in BOUNDS.items():
        halves = [_series(half, name, bound) for half in (rows[:middle], rows[middle:])]
        values = np.concatenate([values for _, values in halves])
        total = float(np.median(values[-ENDS:]) - np.median(values[:ENDS])) if len(values) else 0.0
        found[name] = Growth(_slope(*halves[0]), _slope(*halves[1]), total)
    return found


def excesses(rows: Rows) -> list[str]:
    """Returns a sentence for each growth that is more than it may be."""
    return [sentence for name, growth in growths(rows).items() for sentence in _excesses(name, growth, BOUNDS[name])]


def _excesses(name: str, growth: Growth, bound: Bound) -> Iterator[str]:
    for half, slope in (("first", growth.first), ("second", growth.second)):
        if slope > bound.limit and not (bound.fills and half == "first"):
            yield f"{name} grows by {slope:.4g} a run in the {half} half, at most {bound.limit:g}: {bound.why}"
    if growth.total > bound.total:
        yield f"{name} grows by {growth.total:.4g} from first to last, at most {bound.total:g}: {bound.why}"


def _series(rows: Rows, name: str, bound: Bound) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of the runs, and the quantity after each."""
    used = [row for row in rows if row["pruned"] in bound.rows]
    slower = np.array([float(row[bound.pace]) / QUIET[bound.pace] if bound.pace else 1.0 for row in used])
    return np.array([float(row["run"]) for row in used]), np.array([float(row[name]) for row in used]) / slower


def _slope(runs: np.ndarray, values: np.ndarray) -> float:
    """Returns the median slope of all pairs (Theil and Sen, 1968); 0 without a pair."""
    first, second = np.triu_indices(len(runs), 1)
    pairs = (values[second] - values[first]) / (runs[second] - runs[first])
    return float(np.median(pairs)) if len(pairs) else 0.0
