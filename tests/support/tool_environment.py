"""Environments of their own for programs that this project only compares itself with, or is used by."""

import shutil
import subprocess
from pathlib import Path


def make_environment(folder: Path, *packages: str) -> Path:
    """Returns the Python of an environment with `packages` in `folder`, which is kept for the next call.

    Raises:
        RuntimeError: they cannot be installed; the message says why.
    """
    uv, python, ready = shutil.which("uv"), folder / "bin" / "python", folder / ".ready"
    wanted = "\n".join(packages)
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return python
    if uv is None:
        raise RuntimeError(f"{packages[0]} is not measured or tested: uv, which installs it, is not on PATH")
    make = [uv, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)]
    for command in (make, [uv, "pip", "install", "--quiet", "--python", str(python), *packages]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip()
            raise RuntimeError(f"{packages[0]} is not measured or tested: it cannot be installed ({reason})")
    ready.write_text(wanted, encoding="utf-8")
    return python
