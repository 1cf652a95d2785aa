"""What this machine has for stages to share: cores and GPUs."""

import os
from pathlib import Path

GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
# Read by the libraries that stages compute with; a stage that sets its own number of threads is not touched by them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def gpus() -> list[int]:
    """Numbers of the NVIDIA GPUs that this process may use; none where there is no driver."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [int(number) for number in allowed.split(",") if number.strip().isdigit()]
    return list(range(len(list(GPU_FOLDER.iterdir())))) if GPU_FOLDER.is_dir() else []


def environment(slots: int, jobs: int, gpus: tuple[int, ...]) -> dict[str, str]:
    """Environment of a stage that holds `slots` of `jobs` and these GPUs: its share of the cores, its devices."""
    threads = str(max(1, cores() * slots // jobs))
    shared = {name: threads for name in THREAD_VARIABLES if name not in os.environ}
    return shared | ({"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if gpus else {})
