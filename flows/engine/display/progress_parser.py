"""Parses the progress of a stage from a line of its output: `epoch 3/10 ...`, `step 40 of 200`."""

import re

STEP = re.compile(r"\b(?:epoch|step|batch) (\d+)(?:/| of )(\d+)", re.IGNORECASE)


def parse_progress(line: str) -> tuple[int, int] | None:
    """Returns (steps done, total steps) from a line of a stage's output; None if the line reports no progress."""
    match = STEP.search(line)
    return (int(match[1]), int(match[2])) if match and int(match[2]) else None
