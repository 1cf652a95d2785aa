"""What this machine has for stages to share: cores and GPUs."""

import os
import zlib
from itertools import takewhile
from pathlib import Path

GPUS = "CUDA_VISIBLE_DEVICES"
GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
# Read by the libraries that stages compute with; a stage that sets its own number of threads is not touched by them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def gpus() -> list[int]:
    """Numbers of the NVIDIA GPUs that this process may use; none where there is no driver.

    A GPU that the environment names (`GPU-8932f937`, `MIG-GPU-...`) has a number made of its name: everywhere the same.
    """
    if os.environ.get(GPUS) is not None:
        return list(_names())
    return list(range(len(list(GPU_FOLDER.iterdir())))) if GPU_FOLDER.is_dir() else []


def _names() -> dict[int, str]:
    """How the environment names each GPU; as CUDA reads it, up to the first that can be none, such as -1."""
    listed = [name.strip() for name in os.environ.get(GPUS, "").split(",")]
    allowed = takewhile(lambda name: name.isdigit() or name.startswith(("GPU-", "MIG-")), listed)
    return {int(name) if name.isdigit() else zlib.crc32(name.encode()): name for name in allowed}


def environment(slots: int, jobs: int, gpus: tuple[int, ...]) -> dict[str, str]:
    """Environment of a stage that holds `slots` of `jobs` and these GPUs: its share of the cores, its devices."""
    threads = str(max(1, cores() * slots // jobs))
    shared = {name: threads for name in THREAD_VARIABLES if name not in os.environ}
    names = _names()
    return shared | ({GPUS: ",".join(names.get(number, str(number)) for number in gpus)} if gpus else {})
