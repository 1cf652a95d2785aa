"""How far a stage is, read from its own lines: `epoch 3/10 ...`, `step 40 of 200`."""

import re

STEP = re.compile(r"\b(?:epoch|step|batch) (\d+)(?:/| of )(\d+)", re.IGNORECASE)


def steps(text: str) -> tuple[int, int] | None:
    """(steps done, steps in all) that a line of a stage's output tells; None when it tells none."""
    found = STEP.search(text)
    return (int(found[1]), int(found[2])) if found and int(found[2]) else None
