"""Snapshots of a working tree: their clones have what the tree has, and the repository stays as it is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.core.errors import GitFailed
from flows.core.git import git_text, run_git
from flows.core.git_snapshot import take_snapshot
from stages.base.errors import InkflowError, InvalidInput
from tests.flows.core.test_git import PERSON, make_repository

ALLOW_FILE = ("-c", "protocol.file.allow=always")  # git refuses submodules in local folders otherwise


def commit(folder: Path, files: dict[str, str]) -> Path:
    """Writes and commits files, in a new repository if there is none, and returns the folder."""
    if not (folder / ".git").exists():
        make_repository(folder, "begin")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    run_git(["add", "--all"], folder)
    run_git([*PERSON, "commit", "--quiet", "--allow-empty", "--message", "files"], folder)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Returns the text of all files below a folder, without those of git."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def guarded(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of what a user's git commands depend on: HEAD, index, configuration, references."""
    git = Path(git_text(["rev-parse", "--absolute-git-dir"], folder))
    names = ("HEAD", "index", "config", "packed-refs", "ORIG_HEAD", "FETCH_HEAD", "logs/HEAD")
    return {name: (git / name).read_bytes() for name in names if (git / name).exists()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with two committed files."""
    return commit(tmp_path / "tree", {"a.txt": "a\n", "sub/b.txt": "b\n"})


def clone_of(folder: Path, name: str = "clone") -> Path:
    """Returns a clone of the present state of `folder`."""
    target = folder.parent / name
    take_snapshot(folder).clone(target)
    return target


def touch(tree: Path) -> None:
    """Gives a file a newer time and the same bytes."""
    os.utime(tree / "a.txt", (2e9, 2e9))


def edit(tree: Path) -> None:
    """Changes, adds, removes and renames files, some of them staged, and leaves one untracked."""
    (tree / "a.txt").write_text("edited\n")
    (tree / "new \n\t'ü.txt").write_text("staged\n")
    run_git(["add", "--", "new \n\t'ü.txt"], tree)
    (tree / "later.txt").write_text("to add\n")
    run_git(["add", "--intent-to-add", "later.txt"], tree)
    (tree / "sub/b.txt").unlink()


def sparse(tree: Path) -> None:
    """Leaves the files of a folder out of the working tree."""
    run_git(["sparse-checkout", "set", "elsewhere"], tree)


@pytest.mark.parametrize("change", [touch, edit], ids=["touched", "edited"])
def test_clone_has_the_tracked_files(tree: Path, change: Callable[[Path], None]) -> None:
    """A clone has the tracked files as they are, and the repository's HEAD, index and settings keep their bytes."""
    change(tree)
    before = guarded(tree)
    clone = clone_of(tree)
    assert guarded(tree) == before
    assert contents(clone) == contents(tree)
    assert git_text(["rev-parse", "HEAD"], clone) == git_text(["rev-parse", "HEAD"], tree)


def test_sparse_checkout(tree: Path) -> None:
    """A clone of a sparse checkout has all files of the commit, and the sparse checkout stays sparse."""
    sparse(tree)
    assert not (tree / "sub").exists()
    assert contents(clone_of(tree)) == {"a.txt": "a\n", "sub/b.txt": "b\n"}
    assert not (tree / "sub").exists()
    assert git_text(["status", "--porcelain"], tree) == ""


def test_submodules(tree: Path, tmp_path: Path) -> None:
    """A clone has the content of submodules, nested ones and uncommitted edits included, at their own commits."""
    inner = commit(tmp_path / "inner", {"deep.txt": "1\n"})
    outer = commit(tmp_path / "outer", {"k.txt": "7\n"})
    run_git([*ALLOW_FILE, "submodule", "--quiet", "add", str(inner), "in ner"], outer)
    commit(outer, {})
    run_git([*ALLOW_FILE, "submodule", "--quiet", "add", str(outer), "lib"], tree)
    run_git([*ALLOW_FILE, "submodule", "--quiet", "update", "--init", "--recursive"], tree)
    commit(tree, {})
    (tree / "lib/in ner/deep.txt").write_text("edited\n")
    clone = clone_of(tree)
    assert (clone / "lib/k.txt").read_text() == "7\n"
    assert contents(clone) == contents(tree)
    assert git_text(["submodule", "status"], tree)[1:41] == git_text(["rev-parse", "HEAD"], clone / "lib")
    assert git_text(["ls-files", "--stage", "lib"], clone) == git_text(["ls-files", "--stage", "lib"], tree)


def test_submodule_that_is_not_checked_out(tree: Path, tmp_path: Path) -> None:
    """An empty folder of a submodule is empty in the clone too: both are the same input of a stage."""
    run_git([*ALLOW_FILE, "submodule", "--quiet", "add", str(commit(tmp_path / "lib", {"k": "7"})), "lib"], tree)
    commit(tree, {})
    run_git(["submodule", "--quiet", "deinit", "--force", "lib"], tree)
    assert not list((clone_of(tree) / "lib").iterdir())


def test_linked_worktree(tree: Path, tmp_path: Path) -> None:
    """A linked worktree is cloned with its own commit and files; its branch stays checked out."""
    linked = tmp_path / "linked"
    run_git(["worktree", "add", "--quiet", "-b", "other", str(linked)], tree)
    commit(linked, {"c.txt": "c\n"})
    (linked / "a.txt").write_text("edited\n")
    before = guarded(linked)
    assert contents(clone_of(linked)) == contents(linked)
    assert (guarded(linked), git_text(["symbolic-ref", "HEAD"], linked)) == (before, "refs/heads/other")


def test_shallow_clone(tree: Path, tmp_path: Path) -> None:
    """A repository with its last commit alone, for whose clones git ignores --shared, is cloned with its edits, keeps
    its files, and takes commits of the clone.
    """
    commit(tree, {"a.txt": "later\n"})
    shallow = tmp_path / "shallow"
    run_git(["clone", "--quiet", "--depth", "1", f"file://{tree}", str(shallow)], tree)
    (shallow / "a.txt").write_text("edited\n")
    before = guarded(shallow)
    clone = clone_of(shallow)
    assert guarded(shallow) == before
    assert contents(clone) == contents(shallow)
    assert git_text(["rev-list", "--count", "HEAD"], clone) == "1"
    commit(clone, {"a.txt": "result\n"})
    run_git(["fetch", "--quiet", str(clone), "+HEAD:refs/exps/result"], shallow)
    assert git_text(["show", "refs/exps/result:a.txt"], shallow) == "result"


def test_shallow_submodule(tree: Path, tmp_path: Path) -> None:
    """A clone has the edits of a submodule that has its last commit alone."""
    library = commit(commit(tmp_path / "library", {"k.txt": "1\n"}), {"k.txt": "2\n"})
    add = [*ALLOW_FILE, "submodule", "--quiet", "add", "--depth", "1", f"file://{library}", "lib"]
    run_git(add, tree)
    commit(tree, {})
    assert git_text(["rev-parse", "--is-shallow-repository"], tree / "lib") == "true"
    (tree / "lib/k.txt").write_text("edited\n")
    assert contents(clone_of(tree)) == contents(tree)


def large_file_storage(tree: Path) -> None:
    """Stores `*.bin` as pointers, by a filter in the repository's own settings, as Git LFS does."""
    run_git(["config", "filter.store.clean", "sha1sum"], tree)
    run_git(["config", "filter.store.smudge", "false"], tree)  # its server is not reachable
    run_git(["config", "filter.store.required", "true"], tree)
    commit(tree, {".gitattributes": "*.bin filter=store\n", "x.bin": "content\n"})


def test_files_that_git_stores_in_another_form(tree: Path) -> None:
    """A clone has the content of filtered files, not their pointers, and commits them as pointers again."""
    large_file_storage(tree)
    assert git_text(["show", "HEAD:x.bin"], tree) != "content"
    clone = clone_of(tree)
    assert contents(clone) == contents(tree)
    assert git_text(["status", "--porcelain"], clone) == ""
    snapshot = take_snapshot(tree)
    (tree / "x.bin").write_text("other!!\n")
    with pytest.raises(InkflowError, match=r"^x.bin has changed since the start, and git stores it in another form"):
        snapshot.clone(tree.parent / "second")


def test_pointers_stay_pointers(tree: Path) -> None:
    """Where the tree itself has pointers, because the filter's program was not there, its clone has the same."""
    large_file_storage(tree)
    (tree / "x.bin").write_text(git_text(["show", "HEAD:x.bin"], tree) + "\n")
    run_git(["config", "filter.store.clean", "cat"], tree)
    assert contents(clone_of(tree)) == contents(tree)


def test_line_ends(tree: Path) -> None:
    """A clone has the line ends of the tree, which the repository's settings or attributes may convert."""
    run_git(["config", "core.autocrlf", "true"], tree)
    (tree / ".git/info/attributes").write_text("sub/* ident\n")
    (tree / "a.txt").write_bytes(b"a\r\n")
    (tree / "sub/b.txt").write_text("$Id$\n")
    clone = clone_of(tree)
    assert (clone / "a.txt").read_bytes() == b"a\r\n"
    assert contents(clone) == contents(tree)


def test_hooks_and_templates_of_the_user(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hooks of the user's template do not run in a clone."""
    (tmp_path / "template/hooks").mkdir(parents=True)
    (tmp_path / "template/hooks/post-checkout").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    assert not (clone_of(tree) / ".git/hooks").exists()


def test_merge_conflict(tree: Path) -> None:
    """A tree with conflicts has no one content: the files are named, and what to do."""
    begin = git_text(["rev-parse", "HEAD"], tree)
    commit(tree, {"a.txt": "ours\n"})
    run_git(["checkout", "--quiet", "-b", "theirs", begin], tree)
    commit(tree, {"a.txt": "theirs\n"})
    run_git([*PERSON, "merge", "--quiet", "@{-1}"], tree, allowed=[1])
    with pytest.raises(InvalidInput, match=r"^a.txt: a merge conflict; resolve it and `git add` it"):
        take_snapshot(tree)


def test_no_commit(tmp_path: Path) -> None:
    """A repository without a commit is named, with what to do; a refusal of git itself is an error in git's words."""
    run_git(["init", "--quiet", str(tmp_path)], tmp_path)
    with pytest.raises(InvalidInput, match="there is none yet; commit first"):
        take_snapshot(tmp_path)
    (tmp_path / ".git/HEAD").write_text("broken")
    with pytest.raises(GitFailed, match=r"^git rev-parse: fatal: not a git repository"):
        take_snapshot(tmp_path)
