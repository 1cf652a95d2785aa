"""The processors of this machine: how many this process may use, their model name, and their features."""

import os
import platform
from pathlib import Path

VECTOR_FEATURES = ("sse", "avx", "fma", "f16c", "amx", "asimd", "sve", "bf16", "i8mm")


def available_cores() -> int:
    """Returns the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Returns the model name of the processor, or its architecture if the system does not report a model."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def processor_features() -> set[str]:
    """Returns Linux's names of the features of the processor, none on another system."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return set()
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    features = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return set(next(features, []))


def vector_features() -> list[str]:
    """Returns the features that decide which kernels a library chooses; a virtual machine can hide some of them."""
    return sorted(name for name in processor_features() if name.startswith(VECTOR_FEATURES))
