"""Why a flow run crashed: Prefect's state names an exit code, the log of the run has the traceback.

The messages of our own crashed states are here too. They tell a crash from a run that lives, and from a stop.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from flows.prefect_server.environment import HEARTBEAT_S

HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
SILENT = "no heartbeat: its process and its worker died"
LIVES = "it was marked as crashed, but has sent a heartbeat since"
LIFE_SIGN_S = 2 * HEARTBEAT_S  # after the mark: a living run has sent a heartbeat by then, and the server has stored it
DIED = "its process ended together with `inkflow up`"
STOPPED = "`inkflow up` was stopped while it ran"
GAVE_UP = "Gave up"  # name of the state of a run that crashed too often: its type is that of a crash
ERROR_LEVEL = 40  # of Python's logging
TRACEBACK = "Traceback (most recent call last)"
STOP_FILE = "stopped"  # in the folder of `inkflow up`: it is empty, and there if a person or a signal stopped that


def note_stop(home: Path) -> None:
    """Notes that `inkflow up` is being stopped; without a note, as on a full disk, the stop counts as a crash."""
    with suppress(OSError):
        (home / STOP_FILE).touch()


def end_message(home: Path) -> str:
    """Returns why the runs ended that the last `inkflow up` left: it was stopped, or it died."""
    return STOPPED if (home / STOP_FILE).is_file() else DIED


def forget_stop(home: Path) -> None:
    """Removes the note of `note_stop`, once the runs are marked: the next end may be a crash."""
    with suppress(OSError):
        (home / STOP_FILE).unlink()


def crash_reason(message: str, logs: Iterable[str]) -> str:
    """Returns `message` of a crashed state, with the last line of the first log in `logs` that has a traceback."""
    for log in logs:
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        if TRACEBACK in log and lines[-1] not in message:
            return f"{lines[-1]} ({message.rstrip('.')})" if message else lines[-1]
    return message or "Prefect gave no reason"
