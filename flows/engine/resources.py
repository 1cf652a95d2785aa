"""The resources of this machine that stages share: cores, memory and GPUs."""

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import psutil

from flows.core.errors import NotEnoughMemory
from stages.base.machine import available_cores

GPUS = "CUDA_VISIBLE_DEVICES"
GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
# Variables that the numeric libraries read; a stage that sets its own number of threads overrides them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return available_cores()


def machine_memory(proc: Path = Path("/proc/self/cgroup"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns the memory of this machine in bytes, or the limit of this process's control group if that is lower."""
    return min([psutil.virtual_memory().total, *_memory_limits(proc, cgroups)])


def _memory_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yields the memory limits of this process's control group and of those around it, of versions 1 and 2.

    In a container the group's path can be that on the host; the container's own group is then the top one.
    """
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (cgroups / "memory", "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # the top group has no limit; without one, the file has `max`
                yield int((folder / name).read_text(encoding="utf-8"))
            if folder == top:
                break


def gpus() -> list[int]:
    """Returns the numbers of the NVIDIA GPUs that this process may use; none without a driver.

    The number of a GPU that the environment names (`GPU-8932f937`, `MIG-GPU-...`) is a checksum of its name, and so the
    same in all processes.
    """
    if os.environ.get(GPUS) is not None:
        return list(_visible_gpus())
    return list(range(len(list(GPU_FOLDER.iterdir())))) if GPU_FOLDER.is_dir() else []


def check_memory(stage: str, needed: int, total: int) -> None:
    """Raises NotEnoughMemory if `stage` needs more bytes of memory than the `total` of this machine."""
    if needed > total:
        raise NotEnoughMemory(stage, memory_text(needed), memory_text(total))


def memory_text(count: int) -> str:
    """Returns an amount of memory with its unit, as `4.0GiB`."""
    from pydantic import ByteSize  # late: a run without changes saves the import

    return ByteSize(count).human_readable()


def environment(slots: int, jobs: int, gpus: tuple[int, ...]) -> dict[str, str]:
    """Returns the variables for a stage that holds `slots` of `jobs` and these GPUs: its share of threads, its GPUs."""
    threads = str(max(1, cores() * slots // jobs))
    variables = {name: threads for name in THREAD_VARIABLES if name not in os.environ}
    names = _visible_gpus()
    return variables | ({GPUS: ",".join(names.get(number, str(number)) for number in gpus)} if gpus else {})


def _visible_gpus() -> dict[int, str]:
    """Returns the GPUs in CUDA_VISIBLE_DEVICES, by number; like CUDA, ignores all after the first invalid one (-1)."""
    names = [name.strip() for name in os.environ.get(GPUS, "").split(",")]
    valid = takewhile(lambda name: name.isdecimal() or name.startswith(("GPU-", "MIG-")), names)
    return {int(name) if name.isdecimal() else zlib.crc32(name.encode()): name for name in valid}
