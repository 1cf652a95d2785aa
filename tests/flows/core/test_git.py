"""Git commands: their output, their errors, and their independence of the caller's environment."""

from pathlib import Path

import pytest

from flows.core.errors import GitFailed
from flows.core.git import git_succeeds, git_text, run_git

PERSON = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")


def make_repository(folder: Path, message: str) -> Path:
    """Creates a repository with one empty commit."""
    folder.mkdir()
    run_git(["init", "--quiet"], folder)
    run_git([*PERSON, "commit", "--quiet", "--allow-empty", "--message", message], folder)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    return make_repository(tmp_path / "repository", "one")


def test_output(repository: Path) -> None:
    """Output comes as bytes, or as text without its last newline; standard input reaches git."""
    assert run_git(["log", "--format=%s"], repository) == b"one\n"
    assert git_text(["log", "--format=%s"], repository) == "one"
    assert len(run_git(["hash-object", "--stdin"], repository, stdin=b"content").strip()) == 40


def test_file_names_that_are_not_utf8(repository: Path) -> None:
    """A file name with other bytes than UTF-8 becomes the name that Python uses for it."""
    name = b"\xff".decode(errors="surrogateescape")
    (repository / name).touch()
    assert git_text(["ls-files", "-z", "--others"], repository) == f"{name}\0"


def test_failure(repository: Path) -> None:
    """A failure is an error with the command and git's own message, or empty output if the caller allows it."""
    command = ["-c", "core.pager=cat", "log", "nowhere"]
    with pytest.raises(GitFailed, match=r"^git log: fatal: ambiguous argument 'nowhere'") as error:
        run_git(command, repository)
    assert error.value.reason.startswith("fatal: ambiguous argument")
    assert git_text(command, repository, check=False) == ""
    assert not git_succeeds(command, repository)
    assert git_succeeds(["log"], repository)


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git gives the same error, not one of the operating system."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitFailed, match="No such file or directory: 'git'"):
        run_git(["log"], repository)
    assert not git_succeeds(["log"], repository)


def test_outer_repository_is_ignored(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook of another repository, whose variables name that repository, git works on the given folder."""
    other = make_repository(tmp_path / "other", "two")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert git_text(["log", "--format=%s"], repository) == "one"
    assert git_text(["rev-parse", "--show-toplevel"], repository) == str(repository.resolve())


def test_no_prompts(repository: Path) -> None:
    """Git never asks for a password at the terminal."""
    assert git_text(["-c", "alias.prompt=!printenv GIT_TERMINAL_PROMPT", "prompt"], repository) == "0"
