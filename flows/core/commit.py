"""Which commit the working tree is at, by git, and which results belong to it, by dvc.lock."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = "dvc.lock"


def describe(root: Path) -> str:
    """The commit, short, with a mark where tracked files differ from it; empty outside of git."""
    commit = _git(root, "rev-parse", "--short=10", "HEAD")
    if not commit:
        return ""
    return f"{commit} with changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def is_recorded(root: Path, output: Path) -> bool:
    """Whether the file `output` below `root` has the content that dvc.lock names for it."""
    try:
        lock = YAML(typ="safe", pure=True).load((root / LOCK).read_text(encoding="utf-8"))
        found = hashlib.md5((root / output).read_bytes(), usedforsecurity=False).hexdigest()  # as DVC has it
    except (OSError, ValueError, YAMLError):  # no record, or none that can be read
        return False
    return found in [out.get("md5") for out in _outputs(lock) if out.get("path") == output.as_posix()]


def _outputs(lock: Any) -> list[dict[str, Any]]:
    """Outputs of all stages in the content of dvc.lock; none where it is of another form."""
    try:
        return [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    except (AttributeError, KeyError, TypeError):
        return []


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:  # no git here
        return ""
    return done.stdout.strip() if not done.returncode else ""
