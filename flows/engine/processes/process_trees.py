"""Ending processes with everything that they started."""

import os
from collections.abc import Callable
from contextlib import suppress

import psutil

GRACE_S = 3.0  # between the request to end and the end
ROUNDS = 3  # what was being started while we looked is found the next time


def end_trees(pids: list[int]) -> None:
    """End processes with all their descendants, also those in other groups: asked first, forced after a while."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            found |= {child.pid: child for child in [*process.children(recursive=True), process]}
        found |= {member.pid: member for member in _group(pid)}
    alive = list(found.values())
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with suppress(psutil.Error):
                ask(process)
        _, alive = psutil.wait_procs(alive, timeout=GRACE_S)


def end_found(find: Callable[[], list[int]]) -> int:
    """End what `find` finds, until it finds no more; how many there were."""
    count = 0
    for _ in range(ROUNDS):
        pids = find()
        if not pids:
            break
        count += len(pids)
        end_trees(pids)
    return count


def _group(pid: int) -> list[psutil.Process]:
    """Members of the process group that `pid` led, which may have ended itself."""
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
