"""Runs git commands."""

import subprocess
from pathlib import Path

from flows.core.errors import DvcFailed


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return its output without the last newline. Ctrl-C at a terminal does not reach git.

    Raises:
        DvcFailed: git failed; the message is git's own.
    """
    result = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="surrogateescape",  # paths need not be UTF-8
        check=False,
        start_new_session=True,
    )
    if result.returncode:
        message = " ".join(result.stderr.split()) or f"exit code {result.returncode}"
        raise DvcFailed(f"git {arguments[0]}: {message}")
    return result.stdout.removesuffix("\n")


def git_succeeds(folder: Path, *arguments: str) -> bool:
    """Run git in `folder` and return True for exit code 0."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False).returncode == 0
