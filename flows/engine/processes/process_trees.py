"""Terminates processes together with all processes that they started, and tells processes with one id apart."""

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
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


def lives(pid: int, named_s: float, command: str) -> bool:
    """Returns True if the process lives that a file named at the time `named_s` or before, by its id and `command`.

    A process that was created later and has another command line is another one with the same id: those of a container
    have few ids. The time alone does not tell: a clock may be set forward, and that of a file server may be behind.

    Args:
        pid: the id.
        named_s: the time in seconds since the epoch.
        command: the words of its `sys.argv`; a name in parentheses may follow.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.create_time() <= named_s + CLOCK_S or may_have_command(process.cmdline(), command)
    except (psutil.NoSuchProcess, ValueError):  # ValueError: below 0
        return False
    except psutil.Error:
        return True


def may_have_command(line: Sequence[str], command: str) -> bool:
    """Returns False if `command`, the words of a `sys.argv`, is not that of a process with the command line `line`.

    The last words are compared, as names of modules: Python replaces others, such as `-m flows` by a path.

    Args:
        line: the command line.
        command: the words; a name in parentheses may follow.
    """
    if any("fork" in word.rpartition("/")[2] for word in line):  # the line of the server that forked the process
        return True
    commands = [command, *(command[: found.start()] for found in re.finditer(r" \(", command))]
    names = {_module_name(each) for each in commands}
    return _module_name(" ".join(line)) in names or not names.isdisjoint({"", "-c"})


def _module_name(command: str) -> str:
    """Returns the last word of a command, without its folder, its package, and the ending of Python's files."""
    word = (command.split() or [""])[-1]
    return re.split(r"[/.]", word.removesuffix(".py").removesuffix("/__main__"))[-1]


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
