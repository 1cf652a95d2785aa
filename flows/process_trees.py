"""Ending processes with everything that they started."""

import os
from contextlib import suppress

import psutil

GRACE_S = 3.0  # between the request to end and the end


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
