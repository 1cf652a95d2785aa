"""Why a flow run crashed: Prefect's state names an exit code, the log of the run has the traceback."""

from collections.abc import Iterable

GAVE_UP = "Gave up"  # name of the state of a run that crashed too often: its type is that of a crash
ERROR_LEVEL = 40  # of Python's logging
TRACEBACK = "Traceback (most recent call last)"


def crash_reason(message: str, logs: Iterable[str]) -> str:
    """Returns `message` of a crashed state, with the last line of the first log in `logs` that has a traceback."""
    for log in logs:
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        if TRACEBACK in log and lines[-1] not in message:
            return f"{lines[-1]} ({message.rstrip('.')})" if message else lines[-1]
    return message or "Prefect gave no reason"
