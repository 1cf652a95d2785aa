"""Runs git commands on the repository around a given folder: the only module that starts git.

Every command runs without prompts, without standard input unless the caller passes some, and in its own session, so
that Ctrl-C at the terminal does not interrupt it halfway. It writes nothing that its caller did not ask for: git's
optional writes of the index are disabled. Variables with which git points its hooks to one repository are removed: a
hook of another repository may have started this process.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.core.errors import GitFailed, RevisionUnusable

# The variables of `git rev-parse --local-env-vars` that name a repository or its parts, and those that change how paths
# are read or references are written. Settings in the environment stay: they may be all that lets git read a repository.
LOCAL_VARIABLES = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_DIR", "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE", "GIT_ICASE_PATHSPECS", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_LITERAL_PATHSPECS", "GIT_NAMESPACE", "GIT_NOGLOB_PATHSPECS", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}  # fmt: skip
SETTINGS = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
GRACE_S = 2.0  # between SIGTERM and SIGKILL
REMOTE_TIMEOUT_S = 300.0  # for a remote, which may accept a connection and never answer


def forget_caller() -> None:
    """Removes the variables that a git hook sets from the environment of this process and of those that it starts."""
    for name in LOCAL_VARIABLES & os.environ.keys():
        del os.environ[name]


def run_git(
    arguments: Sequence[str],
    cwd: Path,
    *,
    stdin: bytes = b"",
    allowed: Collection[int] = (),
    index: Path | None = None,
    timeout_s: float | None = None,
    started_by: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> bytes:
    """Runs `git ARGUMENTS` in the folder `cwd` and returns its standard output.

    Args:
        arguments: the command line after `git`.
        cwd: a folder of the repository.
        stdin: bytes for git's standard input.
        allowed: exit codes besides 0 that are an answer and no error.
        index: a file to use in place of the repository's index.
        timeout_s: seconds after which git is ended, for commands that wait for a remote.
        started_by: returns the command that starts the given one, such as one that lets git die with this process.

    Raises:
        GitFailed: git failed, was ended, or is not installed.
    """
    names = set(os.environ) - LOCAL_VARIABLES
    environment = {name: os.environ.get(name, "") for name in names} | SETTINGS  # a thread may remove a variable
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    try:
        done = _run(started_by(["git", *arguments]), cwd, environment, stdin, timeout_s)
    except subprocess.TimeoutExpired as error:
        raise GitFailed(arguments, f"the remote has not answered within {timeout_s:g} s") from error
    except OSError as error:
        raise GitFailed(arguments, str(error)) from error
    if done.returncode and done.returncode not in allowed:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise GitFailed(arguments, reason or f"exit code {done.returncode}")
    return done.stdout


def add_changes(folder: Path, *, index: Path | None = None) -> None:
    """Adds the changes of tracked files below `folder` to the repository's index, or to the one in the file `index`."""
    run_git(["add", "--update", "--", "."], folder, index=index)


def _run(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: bytes, timeout_s: float | None
) -> "subprocess.CompletedProcess[bytes]":
    """Does what `subprocess.run` does; an error also ends git's own processes, which may wait for a remote for ever."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(stdin, timeout_s)
        except BaseException:
            _end(process)
            raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and its group: with SIGTERM, on which git removes its locks; after GRACE_S with SIGKILL."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=GRACE_S)  # until all of them have closed their output
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def git_text(arguments: Sequence[str], cwd: Path, *, allowed: Collection[int] = (), index: Path | None = None) -> str:
    """Returns the output of `git ARGUMENTS` as text without trailing newlines; see `run_git`.

    Bytes that are not UTF-8 become surrogate escapes, as in Python's file names.
    """
    output = run_git(arguments, cwd, allowed=allowed, index=index)
    return output.decode(errors="surrogateescape").rstrip("\n")


def git_names(arguments: Sequence[str], cwd: Path, *, index: Path | None = None) -> list[str]:
    """Returns the output of `git ARGUMENTS`, a command with the option `-z`, as a list; see `run_git`."""
    return run_git(arguments, cwd, index=index).decode(errors="surrogateescape").split("\0")[:-1]


def git_succeeds(arguments: Sequence[str], cwd: Path) -> bool:
    """Returns True if `git ARGUMENTS` ends with exit code 0; see `run_git`."""
    try:
        run_git(arguments, cwd)
    except GitFailed:
        return False
    return True


def head_commit(cwd: Path) -> str:
    """Returns the commit that is checked out; an empty text before the first commit.

    Raises:
        GitFailed: `cwd` is in no repository, or git refuses to read it.
    """
    return git_text(["rev-parse", "--verify", "--quiet", "HEAD"], cwd, allowed=[1])


def push_remote(cwd: Path) -> str:
    """Returns the name of the remote to push to: `remote.pushDefault`, else origin, whether or not it exists."""
    return git_text(["config", "--get", "remote.pushDefault"], cwd, allowed=[1]) or "origin"


def fetch_address(cwd: Path) -> str:
    """Returns the address from which git fetches origin, as `git remote get-url origin` does; empty without an origin.

    The options `url.*.insteadOf` are applied, which may add a token.
    """
    return git_text(["ls-remote", "--get-url", "origin"], cwd) if _stated_address(cwd) else ""


def copy_address(top: Path, clone: Path) -> bool:
    """Gives `clone` the origin of the repository at `top`.

    Returns:
        True if the repository has an origin.
    """
    origin = _stated_address(top)
    if not origin:
        return False
    folder = top / origin
    run_git(["config", "remote.origin.url", str(folder.resolve()) if folder.exists() else origin], clone)
    if not folder.exists() and (address := fetch_address(top)) != fetch_address(clone):
        run_git(["config", "remote.origin.url", address], clone)  # its `insteadOf` is in the repository's own settings
    return True


def _stated_address(cwd: Path) -> str:
    """Returns the address of origin as the settings have it; empty without an origin."""
    return git_text(["config", "--get", "remote.origin.url"], cwd, allowed=[1])  # 1: there is none


def pack_objects(folder: Path) -> None:
    """Lets git pack its objects, and remove old ones that nothing names, if it finds that there are many.

    The clones of runs must not do this while others use the objects, so a project without commits by people collects.
    """
    git_succeeds(["-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"], folder)


def is_in_repository(folder: Path) -> bool:
    """Returns True if `folder` or a parent has a git repository, which git may still refuse to read."""
    path = folder.resolve()
    return any((parent / ".git").exists() for parent in (path, *path.parents))


def require_repository(folder: Path, need: str) -> None:
    """Checks that `folder` is in a git repository, for what cannot do without one.

    Args:
        folder: the project's folder.
        need: what follows from it, as the end of a sentence: `and clones need one`.

    Raises:
        RevisionUnusable: it is in none.
    """
    if not is_in_repository(folder):
        raise RevisionUnusable(f"{folder.resolve()} is in no git repository, {need}; `git init`, then commit")


@contextmanager
def refreshed_index(cwd: Path) -> Iterator[Path]:
    """Yields a copy of the repository's index that knows the present times of all files; removes it afterwards.

    The repository's own index keeps its bytes. In it, a file with a newer time and the same content may look changed.
    """
    original = cwd / git_text(["rev-parse", "--git-path", "index"], cwd)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        if original.exists():
            shutil.copy2(original, index)  # with its time: git compares the content of files that are not older
        run_git(["update-index", "-q", "--refresh"], cwd, allowed=[1], index=index)  # 1: a file has changed
        yield index
