"""The resources of this machine that stages share: cores and GPUs."""

import os
import zlib
from itertools import takewhile
from pathlib import Path

GPUS = "CUDA_VISIBLE_DEVICES"
GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
# Variables that the numeric libraries read; a stage that sets its own number of threads overrides them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def gpus() -> list[int]:
    """Returns the numbers of the NVIDIA GPUs that this process may use; none without a driver.

    The number of a GPU that the environment names (`GPU-8932f937`, `MIG-GPU-...`) is a checksum of its name, and so the
    same in all processes.
    """
    if os.environ.get(GPUS) is not None:
        return list(_visible_gpus())
    return list(range(len(list(GPU_FOLDER.iterdir())))) if GPU_FOLDER.is_dir() else []


def environment(slots: int, jobs: int, gpus: tuple[int, ...]) -> dict[str, str]:
    """Returns the variables for a stage that holds `slots` of `jobs` and these GPUs: its share of threads, its GPUs."""
    threads = str(max(1, cores() * slots // jobs))
    variables = {name: threads for name in THREAD_VARIABLES if name not in os.environ}
    names = _visible_gpus()
    return variables | ({GPUS: ",".join(names.get(number, str(number)) for number in gpus)} if gpus else {})


def _visible_gpus() -> dict[int, str]:
    """Returns the GPUs in CUDA_VISIBLE_DEVICES, by number; like CUDA, ignores all after the first invalid one (-1)."""
    names = [name.strip() for name in os.environ.get(GPUS, "").split(",")]
    valid = takewhile(lambda name: name.isdigit() or name.startswith(("GPU-", "MIG-")), names)
    return {int(name) if name.isdigit() else zlib.crc32(name.encode()): name for name in valid}
