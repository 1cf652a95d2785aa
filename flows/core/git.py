"""Runs git commands on the repository around a given folder.

Every command runs without prompts, without standard input unless the caller passes some, and in its own session, so
that Ctrl-C at the terminal does not interrupt it halfway. Variables with which git points its hooks to one repository
are removed: a hook of another repository may have started this process.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from flows.core.errors import GitFailed

# The variables of `git rev-parse --local-env-vars` that name a repository or its parts; settings stay.
REPOSITORY_VARIABLES = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}  # fmt: skip
NO_PROMPTS = {"GIT_TERMINAL_PROMPT": "0"}


def run_git(arguments: Sequence[str], cwd: Path, *, stdin: bytes = b"", check: bool = True) -> bytes:
    """Runs `git ARGUMENTS` in the folder `cwd` and returns its standard output.

    Args:
        arguments: the command line after `git`.
        cwd: a folder of the repository.
        stdin: bytes for git's standard input.
        check: if False, a failure returns empty bytes in place of an error.

    Raises:
        GitFailed: git failed or is not installed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES} | NO_PROMPTS
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd, env=environment, input=stdin, capture_output=True, check=True, start_new_session=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        if check:
            raise GitFailed(arguments, _reason(error)) from error
        return b""


def git_text(arguments: Sequence[str], cwd: Path, *, check: bool = True) -> str:
    """Returns the output of `git ARGUMENTS` as text without trailing newlines; see `run_git`.

    Bytes that are not UTF-8 become surrogate escapes, as in Python's file names.
    """
    return run_git(arguments, cwd, check=check).decode(errors="surrogateescape").rstrip("\n")


def git_succeeds(arguments: Sequence[str], cwd: Path) -> bool:
    """Returns True if `git ARGUMENTS` ends with exit code 0; see `run_git`."""
    try:
        run_git(arguments, cwd)
    except GitFailed:
        return False
    return True


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    """Returns git's own message on one line, or the system's if git could not be started."""
    if isinstance(error, OSError):
        return str(error)
    return " ".join(error.stderr.decode(errors="replace").split()) or f"exit code {error.returncode}"
