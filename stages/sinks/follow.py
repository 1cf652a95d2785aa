"""Follows one stage: reads its state from standard input, and updates each sink in a thread of its own."""

import argparse
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, TextIO

from stages.base.shown_text import shown_text
from stages.sinks.state import Row, Sink, State

RETRY_S = 30.0  # after a failure
KILLED_S = 2.0  # to say that the stage was killed or interrupted: the engine waits for 3 s
MODULES = {"mlflow": "stages.sinks.mlflow_sink", "tensorboard": "stages.sinks.tensorboard_sink"}
POLL_S = 0.05
MAX_REASON = 300  # characters of an error
NICE = 5  # the training goes first


class Followed:
    """The state of the stage, and the threads that wait for it to change."""

    def __init__(self) -> None:
        self.state, self._version, self._changed = State(), 0, threading.Condition()

    def apply(self, message: dict[str, Any]) -> None:
        """Replaces fields of the state, and adds rows."""
        with self._changed:
            rows = [*self.state.rows, *(Row(values, time.time()) for values in message.pop("rows", []))]
            self.state, self._version = replace(self.state, **message, rows=rows), self._version + 1
            self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float | None = None) -> tuple[State, int]:
        """Waits until the state is newer than version `seen`; returns it and its version."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > seen, timeout_s)
            return self.state, self._version


class Follower(threading.Thread):
    """Updates one sink until the stage has ended; a sink that fails is tried again, and its first failure reported.

    Attributes:
        busy_since: when the present attempt began.
    """

    def __init__(self, name: str, followed: Followed, report: Callable[[str, str], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._followed, self._report, self.busy_since = followed, report, math.inf

    def run(self) -> None:
        """Runs until the last state is shown, or cannot be."""
        sink: Sink | None = None
        state, version, failed_at = State(), 0, -math.inf
        while True:
            self.busy_since = time.monotonic()
            if self.busy_since - failed_at >= RETRY_S:
                try:
                    sink = sink or import_module(MODULES[self.name]).connect()
                    if state.name:
                        sink.update(state)
                    failed_at = -math.inf
                except Exception as error:  # noqa: BLE001 - whatever a library raises, the training goes on
                    failed_at = time.monotonic()
                    self._report(self.name, reason(error))
            self.busy_since = math.inf
            if state.status:
                return
            state, version = self._followed.wait(version, RETRY_S if failed_at > 0 else None)


def reason(error: Exception) -> str:
    """Returns the message of an error as one line; a long one is cut between words: the engine masks whole secrets."""
    lines = shown_text(str(error)).strip().splitlines() or [type(error).__name__]
    if len(lines[0]) <= MAX_REASON:
        return lines[0]
    return f"{lines[0][:MAX_REASON].rpartition(' ')[0] or type(error).__name__} ..."


class Reporter:
    """Writes one warning for each sink to standard error, which libraries cannot reach."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._reported, self._lock = stream, set[str](), threading.Lock()

    def __call__(self, sink: str, text: str) -> None:
        """Writes the first warning of `sink`."""
        with self._lock:
            if sink not in self._reported:
                self._reported.add(sink)
                self._stream.write(f"warning: {sink}: {shown_text(text)}; the stage goes on without it\n")
                self._stream.flush()


def main() -> None:
    """Reads JSON lines until the stage ends, and waits for the sinks a little longer."""
    parser = argparse.ArgumentParser(prog="python -m stages.sinks", description=main.__doc__)
    parser.add_argument("names", nargs="+", choices=list(MODULES))
    parser.add_argument("--wait", type=float, required=True, help="seconds after the end of the stage")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # the end of the stage ends this process
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    report = Reporter(os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    logging.disable(logging.CRITICAL)
    followed = Followed()
    followers = [Follower(name, followed, report) for name in arguments.names]
    for follower in followers:
        follower.start()
    for line in sys.stdin.buffer:
        followed.apply(json.loads(line))
    if not followed.state.status:
        followed.apply({"status": "KILLED"})
    is_killed = followed.state.status == "KILLED"
    if followed.state.name:
        late = join(followers, min(arguments.wait, KILLED_S) if is_killed else arguments.wait)
        for name in [] if is_killed else late:
            report(name, f"no answer for {arguments.wait:g} s (INKFLOW_SINKS_WAIT_S)")
    os._exit(0)  # without waiting for threads of libraries


def join(followers: Sequence[Follower], wait_s: float) -> list[str]:
    """Waits until all sinks are done, and returns the names of those that are not.

    Waits no longer than `wait_s` in all, nor for an attempt that has already taken as long.
    """
    deadline = time.monotonic() + wait_s
    for follower in followers:
        while follower.is_alive() and time.monotonic() < min(deadline, follower.busy_since + wait_s):
            follower.join(POLL_S)
    return [follower.name for follower in followers if follower.is_alive()]
