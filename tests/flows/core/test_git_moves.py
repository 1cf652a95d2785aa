"""Which files git may have replaced since a moment."""

import subprocess
from pathlib import Path

import pytest

from flows.core.git_moves import files_replaced, mark


def git(folder: Path, *arguments: str) -> None:
    """Runs git in a folder."""
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository whose branch `side` has another version of `folder/a`; `b` is the same on both."""
    folder = tmp_path / "tree"
    (folder / "folder").mkdir(parents=True)
    git(folder, "init", "-q")
    for text, commands in (("one", ["commit", "-qm", "one"]), ("two", ["commit", "-qm", "two"])):
        (folder / "folder/a").write_text(text)
        (folder / "b").write_text("b")
        git(folder, "add", ".")
        git(folder, *commands)
        git(folder, "checkout", "-qB", "side" if text == "one" else "last")
    git(folder, "branch", "-f", "side", "HEAD~1")
    return folder


def test_checkout_replaces_the_files_that_differ(tree: Path) -> None:
    """A checkout and back counts for the files that differ between the two commits, also without a log of HEAD."""
    before = mark(tree)
    assert files_replaced(before, [tree], tree) == set()
    git(tree, "checkout", "-q", "side")
    git(tree, "checkout", "-q", "last")
    assert files_replaced(before, [tree], tree) == {tree / "folder/a"}
    assert files_replaced(before, [tree / "folder"], tree / "folder") == {tree / "folder/a"}
    assert files_replaced(before, [tree / "b", tree.parent], tree) == set()
    git(tree, "config", "core.logAllRefUpdates", "false")
    (tree / ".git/logs/HEAD").unlink()
    before = mark(tree)
    git(tree, "checkout", "-q", "side")
    assert files_replaced(before, [tree], tree) == {tree / "folder/a", tree / "b"}


def test_log_without_its_old_lines(tree: Path) -> None:
    """Git may remove old lines of its log meanwhile."""
    before, log = mark(tree), tree / ".git/logs/HEAD"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[2:]))
    assert files_replaced(before, [tree], tree) == set()
    git(tree, "checkout", "-q", "side")
    assert files_replaced(before, [tree], tree) == {tree / "folder/a"}


def test_second_working_tree(tree: Path) -> None:
    """A checkout in another working tree of the repository replaces no file of this one."""
    second = tree.parent / "second"
    git(tree, "worktree", "add", "-q", "-b", "third", str(second), "last")
    first_mark, second_mark = mark(tree), mark(second)
    git(second, "checkout", "-q", "side")
    assert files_replaced(first_mark, [tree], tree) == set()
    assert files_replaced(second_mark, [second], second) == {second / "folder/a"}


def test_folder_without_a_repository(tmp_path: Path) -> None:
    """Outside of a repository git replaces nothing."""
    assert mark(tmp_path) is None
    assert files_replaced(None, [tmp_path], tmp_path) == set()


def test_git_does_not_answer(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git refuses to read the repository, nothing is known to be replaced: contents count alone."""
    before = mark(tree)
    git(tree, "checkout", "-q", "side")
    monkeypatch.setenv("PATH", str(tree))
    assert files_replaced(before, [tree], tree) == set()


def test_more_paths_than_a_command_line_holds(tree: Path) -> None:
    """The paths of a stage with very many dependencies are not passed to git."""
    before = mark(tree)
    git(tree, "checkout", "-q", "side")
    many = [tree / f"{'x' * 200}{number}" for number in range(20_000)]
    assert files_replaced(before, [*many, tree / "folder"], tree) == {tree / "folder/a"}
