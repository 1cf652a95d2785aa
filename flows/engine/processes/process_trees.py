"""Terminates processes together with all processes that they started."""

import os
from collections.abc import Callable
from contextlib import suppress

import psutil

GRACE_S = 3.0  # between SIGTERM and SIGKILL
MAX_ROUNDS = 3  # a process may be starting while the processes are listed; the next round finds it


def terminate_trees(pids: list[int]) -> None:
    """Terminates processes with all their descendants and the members of their process groups.

    Sends SIGTERM to all of them, parents first, so that a shell does not go on with its next command when its child
    has ended; and SIGKILL to those that still run after GRACE_S.
    """
    processes: dict[int, psutil.Process] = {}
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            processes |= {child.pid: child for child in [process, *process.children(recursive=True)]}
        processes |= {member.pid: member for member in _group_members(pid)}
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
