"""What the processes of an `inkflow up` and the files of its project use."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from flows.prefect_server.credentials import HOME
from flows.prefect_server.database import DATABASE_FILE
from flows.prefect_server.watchdog import marked_pids
from tests.support.up_process import Up, is_worker

MB = 1e6
WORK = "import httpx; sum(range(5_000_000))"  # as runs do: a start of Python, imports, computation


def processes(up: Up) -> dict[str, float]:
    """Returns the resident memory of each process that stays, and of all processes the files, number and seconds.

    `forks` are the runs under way.
    """
    found = [psutil.Process(up.process.pid), *_marked(up.folder)]
    usage = dict.fromkeys(("up_mb", "server_mb", "worker_mb", "fork_server_mb"), 0.0)
    files = forks = 0
    for process in found:
        with suppress(psutil.Error, IndexError):
            files += process.num_fds()
            name = _role(process, up)
            if name == "fork_server" and _role(process.parent(), up) == name:
                forks += 1
            elif name:
                usage[f"{name}_mb"] += process.memory_info().rss / MB
    return usage | {"forks": forks, "open_files": files, "processes": len(found), "cpu_s": sum(map(_seconds, found))}


def disk(up: Up, temporary: Path) -> dict[str, float]:
    """Returns the sizes of the project's folders, of the database, and of a folder for temporary files."""
    root, home = up.folder, up.folder / HOME
    database = [home / f"{DATABASE_FILE}{ending}" for ending in ("", "-wal", "-shm")]
    return {
        "cache_mb": size(root / ".dvc/cache"),
        "dvc_tmp_mb": size(root / ".dvc/tmp"),
        "git_mb": size(root / ".git"),
        "state_mb": size(root / ".inkflow") - size(home),
        "home_mb": size(home) - sum(map(size, database)),
        "database_mb": sum(map(size, database)),
        "temporary_mb": size(temporary),
        "files": sum(1 for _ in _files(root)) + sum(1 for _ in _files(temporary)),
    }


def pace() -> dict[str, float]:
    """Returns how long fixed work takes now, and its processor time, in seconds: other work on the machine slows it."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", WORK], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"pace_s": time.monotonic() - started, "pace_cpu_s": cpu_s}


def size(path: Path) -> float:
    """Returns the MB that a file or folder takes on the disk; 0 for a missing one."""
    total = 0
    for file in _files(path) if path.is_dir() else [path]:
        with suppress(OSError):
            total += file.lstat().st_blocks * 512
    return total / MB


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _marked(folder: Path) -> list[psutil.Process]:
    found = []
    for pid in marked_pids(f":{folder}"):
        with suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _role(process: psutil.Process | None, up: Up) -> str:
    line = process.cmdline() if process else []
    if process is None or not line:
        return ""
    if process.pid == up.process.pid:
        return "up"
    if "uvicorn" in line:
        return "server"
    if is_worker(process):
        return "worker"
    return "fork_server" if any("run_fork_server" in word for word in line) else ""


def _seconds(process: psutil.Process) -> float:
    """Returns the processor time of a process and of its children that have ended."""
    with suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))
    return 0.0
