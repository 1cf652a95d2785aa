"""Processor seconds, user and system: wall times say little on a machine that others use too."""

import resource

import psutil


def children_s() -> float:
    """Processor seconds of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def process_s(process: psutil.Process) -> float:
    """Processor seconds of a process that runs, with its children."""
    total = 0.0
    for item in (process, *process.children(recursive=True)):
        times = item.cpu_times()
        total += times.user + times.system
    return total
