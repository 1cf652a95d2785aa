"""Durations of stages on this machine, in an untracked file: a plan and the display estimate from them."""

import math
from pathlib import Path
from statistics import median
from typing import Any

from flows.core.notices import note_once, read_kept
from stages.base.digests import write_sealed
from stages.base.errors import OutputError

PATH = Path(".inkflow/timings.json")
MAX_RUNS = 5  # per stage


class Timings:
    """Durations of the last runs of each stage, in seconds."""

    def __init__(self, root: Path) -> None:
        self._path = root / PATH
        self._seconds: dict[str, list[float]] = _read(self._path)
        self._added: list[tuple[str, float]] = []

    def expected_s(self, stage: str) -> float | None:
        """Returns the median duration of the last runs of `stage`; None if it has not run on this machine."""
        return median(self._seconds[stage]) if self._seconds.get(stage) else None

    def add(self, stage: str, seconds: float) -> None:
        """Adds a run of `stage`."""
        self._added.append((stage, round(seconds, 3)))

    def save(self) -> None:
        """Adds to the file, which another run in the folder may have written meanwhile.

        Without it only estimates are missing, so that a failure is no error of the run.
        """
        self._seconds = _read(self._path)
        for stage, seconds in self._added:
            self._seconds[stage] = [*self._seconds.get(stage, []), seconds][-MAX_RUNS:]
        try:
            write_sealed(self._path, self._seconds)
        except OutputError as error:
            note_once(f"the durations of this run are not kept: {error}")


def _read(path: Path) -> dict[str, list[float]]:
    """Returns the durations in the file; none if it is missing or damaged, since only estimates depend on it."""
    return read_kept(path, "no durations are expected", _checked) or {}


def _checked(content: dict[str, Any]) -> dict[str, list[float]]:
    seconds = {name: [float(value) for value in values] for name, values in content.items()}
    if not all(math.isfinite(value) for values in seconds.values() for value in values):
        raise ValueError("a duration is not a finite number")
    return seconds
