"""The end of a run in at most six lines: the ranking with intervals, the verdict, counts, duration, and the page."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.engine.display.styles import duration
from flows.engine.run import GATES, Run
from flows.engine.types import Outcome
from stages.base.files import parse_json
from stages.base.shown_text import remove_controls

RANKING = Path("reports/ranking.json")  # written by the stage `report`
REPORT = "report"
MAX_LINES = 3  # of ranking and verdict; the gates, the counts and the results have one each


def end_of_run(run: Run, seconds: float, root: Path = Path()) -> list[str]:
    """Returns the lines about what is best and how sure, if the report of this run is at hand, then the counts."""
    unchanged = sum(result.outcome is Outcome.UNCHANGED for result in run.results)
    counts = f"{run.summary}{f', {unchanged} unchanged' if unchanged else ''}, in {duration(seconds)}"
    is_reported = any(result.stage == REPORT for result in run.results) and not set(run.errors) - {GATES}
    if not (is_reported and run.params):
        return [counts]
    try:
        content = parse_json((root / RANKING).read_text(encoding="utf-8"))
        return [*_verdict(content, shutil.get_terminal_size().columns), counts]
    except (OSError, ValueError, LookupError, TypeError):  # another project's file of that name
        return [counts]


def _verdict(content: dict[str, Any], columns: int) -> list[str]:
    """Returns ranking and verdict in at most MAX_LINES lines of `columns` characters; models that do not fit count."""
    verdict = textwrap.wrap(remove_controls(str(content["verdict"])), columns)[: MAX_LINES - 1]
    task = content["tasks"][0]
    *rows, trivial = task["rows"]
    models = [f"{row['model']} {row['score']} ({row['interval']})" for row in rows]
    last = f"{trivial['model']} {trivial['score']}"
    room = MAX_LINES - len(verdict)
    shown = models
    for count in range(len(models), 0, -1):
        shown = _ranking(task["score"], models[:count], len(models) - count, last, columns)
        if len(shown) <= room:
            break
    return [*map(remove_controls, shown[:room]), *verdict]


def _ranking(score: str, models: Sequence[str], more: int, last: str, columns: int) -> list[str]:
    parts = [*models, *([f"{more} more"] if more else []), last]
    return textwrap.wrap(f"{score}: {'; '.join(parts)}", columns, break_long_words=False, break_on_hyphens=False)
