"""Git commands: their output, their errors, and their independence of the caller's environment."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from flows.core import git
from flows.core.errors import GitFailed
from flows.core.git import (
    add_changes,
    forget_caller,
    git_names,
    git_succeeds,
    git_text,
    head_commit,
    refreshed_index,
    run_git,
)
from tests.conftest import Toy, wait_until
from tests.support.commands import run_python
from tests.support.root import ROOT
from tests.support.stalled_server import address, stalled_server, waiting_processes

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
    """A failure is an error with the command and git's own message; an exit code may be an answer instead."""
    command = ["-c", "core.pager=cat", "log", "nowhere"]
    with pytest.raises(GitFailed, match=r"^git log: fatal: ambiguous argument 'nowhere'") as error:
        run_git(command, repository)
    assert error.value.reason.startswith("fatal: ambiguous argument")
    assert git_text(["config", "--get", "no.such"], repository, allowed=[1]) == ""
    with pytest.raises(GitFailed, match=r"^git config: exit code 1$"):
        git_text(["config", "--get", "no.such"], repository)
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


def test_a_remote_that_never_answers(repository: Path) -> None:
    """After its time git is ended with the processes that it started, and the error is one sentence."""
    with stalled_server() as listener:
        with pytest.raises(GitFailed, match=r"^git fetch: the remote has not answered within 0\.5 s$"):
            run_git(["fetch", "--quiet", address(listener)], repository, timeout_s=0.5)
        wait_until(lambda: waiting_processes(listener) == [], timeout_s=60)


@pytest.mark.parametrize("is_deaf", [False, True])
def test_git_may_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deaf: bool) -> None:
    """A git that is ended early can remove its locks; one that does not end then is killed."""
    monkeypatch.setattr(git, "GRACE_S", 0.2 if is_deaf else 60.0)
    on_signal = "trap '' TERM" if is_deaf else "trap 'rm lock; exit 0' TERM"
    command = ["sh", "-c", f"{on_signal}; touch lock; while true; do sleep 0.1; done"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    ) as process:
        wait_until((tmp_path / "lock").exists, timeout_s=60)
        git._end(process)
    assert (process.returncode, (tmp_path / "lock").exists()) == ((-9, True) if is_deaf else (0, False))


def test_variables_of_the_repository_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that git calls local to a repository is dropped, except those that hold settings."""
    settings = {"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}
    local = set(git_text(["rev-parse", "--local-env-vars"], ROOT).split()) - settings
    for name in local | settings:
        monkeypatch.setenv(name, "0")
    forget_caller()
    assert not local & os.environ.keys() and settings <= os.environ.keys()


def test_head_commit(repository: Path, tmp_path: Path) -> None:
    """The commit that is checked out; empty before the first one; an error where git cannot look."""
    assert head_commit(repository) == git_text(["rev-parse", "HEAD"], repository)
    run_git(["init", "--quiet", str(tmp_path / "new")], tmp_path)
    assert head_commit(tmp_path / "new") == ""
    (tmp_path / "none").mkdir()
    with pytest.raises(GitFailed, match="not a git repository"):
        head_commit(tmp_path / "none")


def test_index_keeps_its_bytes(repository: Path) -> None:
    """With a newer time and the same content, no file looks changed, and the index keeps its bytes."""
    (repository / "a").write_text("a")
    run_git(["add", "a"], repository)
    os.utime(repository / "a", (2e9, 2e9))
    before = (repository / ".git/index").read_bytes()
    with refreshed_index(repository) as index:
        assert git_names(["diff-files", "--name-only", "-z"], repository, index=index) == []
    assert git_names(["diff-files", "--name-only", "-z"], repository) == ["a"]
    git_text(["status", "--porcelain"], repository)
    assert (repository / ".git/index").read_bytes() == before


def test_changes_of_tracked_files_are_added(repository: Path) -> None:
    """Changed and deleted files below the folder are added; new ones, and those beside it, are not."""
    (repository / "sub").mkdir()
    for name in ("beside", "sub/changed", "sub/deleted"):
        (repository / name).write_text("1")
    run_git(["add", "."], repository)
    run_git([*PERSON, "commit", "--quiet", "--message", "two"], repository)
    for name in ("beside", "sub/changed", "sub/new"):
        (repository / name).write_text("2")
    (repository / "sub/deleted").unlink()
    with refreshed_index(repository) as index:
        add_changes(repository / "sub", index=index)
        staged = git_names(["diff", "--cached", "--name-only", "-z"], repository, index=index)
    assert staged == ["sub/changed", "sub/deleted"]
    assert git_names(["diff", "--cached", "--name-only", "-z"], repository) == []


def test_a_change_within_the_same_tick_is_seen(repository: Path) -> None:
    """A file that changed right after it was added, with the same size and time, looks changed in the copy too."""
    (repository / "a").write_text("1")
    run_git(["add", "a"], repository)
    time_ns = (repository / ".git/index").stat().st_mtime_ns
    os.utime(repository / "a", ns=(time_ns, time_ns))
    run_git(["update-index", "--refresh"], repository)
    (repository / "a").write_text("2")
    os.utime(repository / "a", ns=(time_ns, time_ns))
    os.utime(repository / ".git/index", ns=(time_ns, time_ns))
    with refreshed_index(repository) as index:
        assert git_names(["diff-files", "--name-only", "-z"], repository, index=index) == ["a"]


def test_one_module_runs_git() -> None:
    """No other module starts git: a command list or a shell line."""
    pattern = re.compile(r"""[\[(]\s*f?["']git["']|["']git \w+.*shell=True""")
    paths = [path for folder in ("flows", "stages") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in paths if pattern.search(path.read_text())] == ["git.py"]


def test_a_command_in_a_hook_forgets_the_hook(toy: Toy, tmp_path: Path) -> None:
    """In a hook, whose variables name another index, a command of Inkflow and its stages see none of them."""
    toy.write({"dvc.yaml": "stages: {s: {cmd: 'env > seen', outs: [seen]}}"})
    program = "from flows.cli.main import main; import os; main(['plan']); print(os.environ.get('GIT_INDEX_FILE'))"
    done = run_python("-c", program, environment=os.environ | {"GIT_INDEX_FILE": str(tmp_path / "other")})
    assert done.stdout.splitlines()[-1] == "None"
