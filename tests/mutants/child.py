"""Calls a function in a forked process with limits of time, which leaves nothing behind."""

import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def in_child(run: Callable[[], object], limit_s: float, cpu_s: int) -> Any:
    """Returns what `run` returns in a forked process, False if it raises; None if the process has no answer.

    Args:
        run: returns what JSON can hold.
        limit_s: seconds, after which the process is killed.
        cpu_s: seconds of processor time, after which the process is killed.
    """
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    answer = folder / "answer.json"
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            answer.write_text(json.dumps(_result(run)))
            status = 0
        finally:
            os._exit(status)
    try:
        return json.loads(answer.read_text()) if _ends_well(process, limit_s) else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _result(run: Callable[[], object]) -> object:
    try:
        return run()
    except Exception:  # noqa: BLE001 - a module that cannot be imported, or the end of a fixture: tests would fail
        return False


def _ends_well(process: int, limit_s: float) -> bool:
    """Waits for a process so long, ends all that it has left, and returns if it ended with 0."""
    end = time.monotonic() + limit_s
    status: int | None = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(process, os.WNOHANG)
        if done:
            status = code
        else:
            time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if status is None:
        os.waitpid(process, 0)
    return status == 0
