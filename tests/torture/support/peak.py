"""The memory of this process: what it has, and the most that it had since a moment."""

from pathlib import Path


def memory(name: str) -> int:
    """Returns `VmRSS`, the memory of this process in bytes, or `VmHWM`, the most since the last `reset_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def reset_peak() -> int:
    """Lets the peak of the memory begin anew; returns the memory of now, in bytes.

    Raises:
        OSError: the system does not let it begin anew.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory("VmRSS")
