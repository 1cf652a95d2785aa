"""Terminates processes together with all processes that they started, and tells processes with one id apart."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import psutil

GRACE_S = 3.0  # between SIGTERM and SIGKILL
CLOCK_S = 5.0  # by which the clocks of a file system and of this machine may differ
MAX_ROUNDS = 3  # a process may be starting while the processes are listed; the next round finds it


def terminate_trees(pids: list[int]) -> None:
    """Terminates processes with all their descendants and the members of their process groups.

    Sends SIGTERM to all of them, parents first, so that a shell does not go on with its next command when its child
    has ended; and SIGKILL to those that still run after GRACE_S.
    """
    processes: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            processes |= {found.pid: found for found in [*_tree(pid), *_group_members(pid)]}
        except OSError:  # no file descriptor is left to list processes
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
    alive = list(processes.values())
    for send_signal in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with suppress(psutil.Error):
                send_signal(process)
        _, alive = psutil.wait_procs(alive, timeout=GRACE_S)


def terminate_all(find: Callable[[], list[int]]) -> None:
    """Terminates the processes that `find` returns, and calls it again until it returns none."""
    for _ in range(MAX_ROUNDS):
        if not (pids := find()):
            break
        terminate_trees(pids)


def started_s(pid: int) -> str:
    """Returns the seconds from the start of the system to that of a process, which no change of the clock affects.

    On other systems than Linux, it is the time of the start.

    Raises:
        psutil.Error: there is no such process.
    """
    created = psutil.Process(pid).create_time()
    return f"{created - psutil.boot_time() if sys.platform.startswith('linux') else created:.2f}"


def lives(pid: int, named_s: float) -> bool:
    """Returns True if the process lives to which a file gave the id `pid`, no later than at the time `named_s`.

    A process that was created later is another one with the same id: those of a container have few ids.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= named_s + CLOCK_S
    except (psutil.NoSuchProcess, ValueError):  # ValueError: below 0
        return False
    except psutil.Error:
        return True


def _tree(pid: int) -> list[psutil.Process]:
    """Returns a process and its descendants."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _group_members(pid: int) -> list[psutil.Process]:
    """Returns the processes in the process group that `pid` leads or led: it may have ended itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, 0)
        members = [process for process in psutil.process_iter() if _group_of(process.pid) == pid]
        return [process for process in members if process.is_running()]
    return []


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
