"""Which commit the working tree is at, by git."""

import subprocess
from pathlib import Path


def describe(root: Path) -> str:
    """The commit, short, with a mark where tracked files differ from it; empty outside of git."""
    commit = _git(root, "rev-parse", "--short=10", "HEAD")
    if not commit:
        return ""
    return f"{commit} with changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:  # no git here
        return ""
    return done.stdout.strip() if not done.returncode else ""
