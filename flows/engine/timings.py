"""How long stages took on this machine: an untracked record, for what a plan expects and a display foretells."""

import json
from pathlib import Path
from statistics import median

from stages.base.files import write_json

PATH = Path(".inkflow/timings.json")
KEPT = 5  # runs of a stage that count


class Timings:
    """Durations of the last runs of each stage, in seconds."""

    def __init__(self, root: Path) -> None:
        self._path = root / PATH
        self._seconds: dict[str, list[float]] = _read(self._path)

    def expected_s(self, stage: str) -> float | None:
        """Median duration of the last runs of `stage`; None when it never ran here."""
        return median(self._seconds[stage]) if self._seconds.get(stage) else None

    def add(self, stage: str, seconds: float) -> None:
        """Take one more run of `stage`."""
        self._seconds[stage] = [*self._seconds.get(stage, []), round(seconds, 3)][-KEPT:]

    def save(self) -> None:
        """Write the record."""
        write_json(self._path, self._seconds)


def _read(path: Path) -> dict[str, list[float]]:
    """The record at `path`; a lost or damaged one is begun anew, since nothing but forecasts is made from it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [float(value) for value in values] for name, values in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
