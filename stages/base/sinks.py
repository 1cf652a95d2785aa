"""Optional sinks of a training's history, such as MLflow, which the environment variable INKFLOW_SINKS names.

    INKFLOW_SINKS=mlflow,tensorboard

The sinks run in a process of their own, `python -m stages.sinks`, which reads JSON lines from its standard input. They
delay a stage by WAIT_S seconds at most, at its end, fail no stage, and are no part of what makes a stage rerun.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stages.base.errors import InvalidInput
from stages.base.streams import tell

SINKS, WAIT = "INKFLOW_SINKS", "INKFLOW_SINKS_WAIT_S"
NAMES = ("mlflow", "tensorboard")
WAIT_S = 10.0
END_S = 2.0  # beyond the wait, in which the process says what was not done
MAX_UNREAD = 1 << 22  # bytes: the process reads all the time, so it hangs if it leaves as much


class Sinks:
    """The process of the sinks `names`; without a name there is no process, and nothing is sent."""

    def __init__(self, names: Sequence[str]) -> None:
        self._wait_s, self._unread, self._sent = _wait_s(), b"", 0
        self._process: subprocess.Popen[bytes] | None = None
        if not names:
            return
        command = [sys.executable, "-m", "stages.sinks", *names, "--wait", str(self._wait_s)]
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(command, stdin=read_end, stdout=subprocess.DEVNULL)
        except OSError as error:
            tell(f"warning: {', '.join(names)}: no process could be started ({error})")
        finally:
            os.close(read_end)
        os.set_blocking(self._pipe, False)

    def send(self, **message: Any) -> None:
        """Sends fields of `stages.sinks.state.State`; never waits or fails."""
        if self._process is not None and len(self._unread) < MAX_UNREAD:
            self._unread += json.dumps(message).encode() + b"\n"
            self._write()

    def send_rows(self, history: Sequence[Sequence[float]]) -> None:
        """Sends the rows of a growing history that were not sent before."""
        self.send(rows=history[self._sent :])
        self._sent = len(history)

    def close(self, status: str, files: Sequence[str] = ()) -> None:
        """Sends how the stage has ended, and waits for the sinks; a second call does nothing."""
        self.send(status=status, files=list(files))
        process, self._process = self._process, None
        if process is None:
            return
        deadline = time.monotonic() + self._wait_s
        while not self._write() and time.monotonic() < deadline:
            select.select([], [self._pipe], [], END_S / 10)
        os.close(self._pipe)
        try:
            process.wait(self._wait_s + END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _write(self) -> bool:
        """Writes as much as the pipe takes; returns whether nothing is left."""
        try:
            while self._unread:
                self._unread = self._unread[os.write(self._pipe, self._unread) :]
        except BlockingIOError:
            return False
        except OSError:  # the process has ended, and has said why
            self._unread = b""
        return True


@contextmanager
def running_sinks(supported: Sequence[str] = NAMES) -> Iterator[Sinks]:
    """Yields those of the `supported` sinks that the environment names; if the block fails, they learn that.

    Raises:
        InvalidInput: INKFLOW_SINKS names an unknown sink, or INKFLOW_SINKS_WAIT_S is no number of seconds.
    """
    names = [name for name in map(str.strip, os.environ.get(SINKS, "").split(",")) if name]
    if unknown := [name for name in names if name not in NAMES]:
        raise InvalidInput(f"{SINKS} names {unknown[0]!r}, expected {' or '.join(NAMES)}, with commas between")
    sinks = Sinks([name for name in supported if name in names])
    try:
        yield sinks
    except KeyboardInterrupt:
        sinks.close("KILLED")
        raise
    except BaseException:
        sinks.close("FAILED")
        raise


def _wait_s() -> float:
    text = os.environ.get(WAIT) or str(WAIT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 24 * 60 * 60:
        raise InvalidInput(f"{WAIT} is {text!r}, expected a number of seconds from 0 to 86400; correct or unset it")
    return seconds
