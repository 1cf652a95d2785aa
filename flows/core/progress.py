"""Progress of a stage, parsed from its output (`epoch 3/10 ...`, `step 40 of 200`), and the signal that killed it."""

import re
import signal
from collections.abc import Sequence

STEP = re.compile(r"\b(epoch|step|batch) (\d+)(?:/| of )(\d+)(?P<rest>.*)", re.IGNORECASE)
SHELL_SIGNAL = 128  # a shell ends with this plus the signal's number if a signal ended its command


def parse_progress(line: str) -> tuple[int, int] | None:
    """Returns (steps done, total steps) from a line of a stage's output; None if the line reports no progress."""
    match = STEP.search(line)
    return (int(match[2]), int(match[3])) if match and int(match[3]) else None


def position(lines: Sequence[str]) -> str:
    """Returns where a stage was when it ended, as ` in epoch 7 of 61`; empty if its `lines` report no progress.

    A line with figures after the number, as Inkflow and Keras print them, is about an epoch that is done: `epoch 6/61
    loss 0.1` means that epoch 7 had begun. A line with the number alone is about one that begins.
    """
    match = next(filter(None, map(STEP.search, reversed(lines))), None)
    if match is None or not int(match[3]):
        return ""
    name, number, total = match[1].lower(), int(match[2]), int(match[3])
    is_done = re.search(r"\d", match["rest"]) is not None
    if is_done and number >= total:
        return f" after {name} {number} of {total}"
    return f" in {name} {number + is_done} of {total}"


def killed_by(code: int) -> signal.Signals | None:
    """Returns the signal that ended a command with the exit code `code`, of itself or as its shell reports it."""
    number = -code if code < 0 else code - SHELL_SIGNAL
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def killed_reason(killer: signal.Signals, lines: Sequence[str]) -> str:
    """Returns the reason of a stage that a signal ended: `killed by SIGKILL in epoch 7 of 61 (out of memory?)`.

    The last line of its output is no reason. The system kills with SIGKILL for lack of memory; a stage that Inkflow
    itself has stopped has another error.
    """
    hint = {signal.SIGKILL: " (out of memory?)", signal.SIGSEGV: " (a crash of native code)"}.get(killer, "")
    return f"killed by {killer.name}{position(lines)}{hint}"
