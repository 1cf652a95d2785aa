"""How much each quantity grows from run to run, and how much it may."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Bound(NamedTuple):
    """What a quantity may grow by with each run, in the second half of the runs.

    Attributes:
        limit: in the unit of the quantity.
        why: what grows at all, or what the limit would find.
        is_settled: it is measured after a prune, when no run is under way.
    """

    limit: float
    why: str
    is_settled: bool = True


BOUNDS = {
    "server_mb": Bound(0.3, "its caches fill; a TLS context kept for each run would be 0.3 MB", False),
    "worker_mb": Bound(0.3, "what a run leaves until Python's next full collection; without these it is 0.6 MB", False),
    "fork_server_mb": Bound(0.02, "imports only", False),
    "up_mb": Bound(0.02, "two polls a second", False),
    "open_files": Bound(0.1, "a socket that is left open by one run of ten"),
    "processes": Bound(0.05, "a process that is left by one run of twenty"),
    "cache_mb": Bound(0.01, "results of the five experiments, which a person keeps"),
    "dvc_tmp_mb": Bound(0.002, "no clone of a run stays"),
    "git_mb": Bound(0.01, "objects of replaced experiments, until Git packs them at a prune"),
    "state_mb": Bound(0.006, "a record of 4 kB for each run that does something, the last 1,000 of them"),
    "home_mb": Bound(0.006, "2 kB of the worker's log for each run, until `inkflow up` cuts it at 5 MB"),
    "database_mb": Bound(0.05, "removed rows leave pages that SQLite uses again; rows of a run that stay take 0.1 MB"),
    "temporary_mb": Bound(0.001, "nothing stays in the folder for temporary files"),
    "run_cpu_s": Bound(0.03, "processor time of all processes for a run, of 3 s: 1 % of it", False),
}


def slopes(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the growth of each quantity with each run: the median slope of all pairs (Theil and Sen, 1968)."""
    half = rows[len(rows) // 2 :]
    found = {}
    for name, bound in BOUNDS.items():
        used = [row for row in half if row["pruned"] or not bound.is_settled]
        if name == "run_cpu_s":  # a prune needs the server too
            used = [row for row in half if not row["pruned"]]
        runs, values = (np.array([float(row[key]) for row in used]) for key in ("run", name))
        first, second = np.triu_indices(len(used), 1)
        pairs = (values[second] - values[first]) / (runs[second] - runs[first])
        found[name] = float(np.median(pairs)) if len(pairs) else 0.0
    return found


def excesses(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a sentence for each quantity that grows by more than it may."""
    return [
        f"{name} grows by {slope:.4g} a run, at most {BOUNDS[name].limit:g} is allowed: {BOUNDS[name].why}"
        for name, slope in slopes(rows).items()
        if slope > BOUNDS[name].limit
    ]
