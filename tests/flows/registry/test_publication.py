"""What is pushed: no tag of a version without its files, and what an earlier call did not push."""

import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from flows.registry import overtaken
from tests.conftest import Toy
from tests.flows.registry.conftest import commit, error, git, held
from tests.support.commands import run_python
from tests.support.stalled_server import address, stalled_server


@pytest.mark.cases(1)
@pytest.mark.parametrize("pushed_by", ["promote", "rollback"])
def test_push_takes_the_files_of_versions_that_only_this_folder_has(models: Toy, store: Path, pushed_by: str) -> None:
    """A version that was promoted without --push gets its files into the remote before a later call pushes its tag."""
    assert inkflow(["promote", "net", "prod"]) == 0
    digest = subprocess.run(["md5sum", "model.bin"], check=True, capture_output=True, text=True).stdout.split()[0]
    commit("two")
    assert inkflow(["promote", "net", "prod"]) == 0 if pushed_by == "rollback" else True
    assert inkflow([*{"promote": ["promote", "net"], "rollback": ["rollback"]}[pushed_by], "prod", "--push"]) == 0
    assert "refs/tags/net@v0.0.1" in git("ls-remote", "--tags", "origin")
    assert (store / "files/md5" / digest[:2] / digest[2:]).read_text() == "one"


@pytest.mark.cases(1)
@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_a_remote_of_git_that_never_answers(
    models: Toy, store: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--push ends with one sentence after the time limit for remotes, and nothing has changed."""
    if verb == "rollback":  # it needs two versions
        assert inkflow(["promote", "net", "prod"]) == 0
        commit("two")
        assert inkflow(["promote", "net", "prod"]) == 0
    tags = git("tag")
    monkeypatch.setattr(overtaken, "REMOTE_TIMEOUT_S", 0.5)
    with stalled_server() as listener:
        git("remote", "set-url", "origin", address(listener))
        names = ["net", "prod"] if verb == "promote" else ["prod"]
        assert "git ls-remote: the remote has not answered within 0.5 s" in error(verb, *names, "--push")
    assert git("tag") == tags


def test_tags_of_others_may_differ(models: Toy, store: Path) -> None:
    """A tag that Git's remote has at another commit does not matter, if it is none of this project's registry."""
    others = ["nightly", "lib@1.0.0", "sub=net@v0.0.1", "net@backup"]
    for name in others:
        git("tag", name)
        git("push", "-q", "origin", name)
    commit("two")
    for name in others:
        git("tag", "--force", name)
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    assert remote_tags() == {*others, "net@v0.0.1", "net#prod#1"}


@pytest.mark.farm
def test_a_moved_tag_of_the_registry_is_named(models: Toy, store: Path) -> None:
    """A version's tag that is another object in Git's remote is named with both objects, and nothing is promoted.

    The command of the message brings the remote's tag back.
    """
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    there = git("rev-parse", "net@v0.0.1")
    commit("two")
    git("tag", "--force", "-a", "-m", "moved", "net@v0.0.1")
    here = git("rev-parse", "net@v0.0.1")
    message = error("promote", "net", "prod", "--push")
    assert f"the tag net@v0.0.1 is the object {here} here and {there} in Git's remote" in message
    assert git("tag").split() == ["net#prod#1", "net@v0.0.1"]
    subprocess.run(message.split("`")[1], shell=True, check=True)
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    assert git("rev-parse", "net@v0.0.1") == there
    assert held("net") == "v0.0.2"


@pytest.mark.farm
def test_rollback_that_was_not_pushed(models: Toy, store: Path) -> None:
    """With --push, a rollback that is only here is pushed; the next call leads back by one version more."""
    for content in ("one", "two", "three"):
        if content != "one":
            commit(content)
        assert inkflow(["promote", "net", "prod", "--push"]) == 0
    assert inkflow(["rollback", "prod"]) == 0
    for version, last in (("v0.0.2", "net#prod#4"), ("v0.0.1", "net#prod#5")):
        assert inkflow(["rollback", "prod", "--push"]) == 0
        assert held("net") == version
        assert f"refs/tags/{last}" in git("ls-remote", "--tags", "origin")


def remote_tags() -> set[str]:
    """Returns the tags that the remote of Git has."""
    return {line.partition("refs/tags/")[2] for line in git("ls-remote", "--tags", "--refs", "origin").splitlines()}


def test_no_tag_is_pushed_whose_files_are_nowhere(models: Toy, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version whose file is in no cache is left out and named, and the next one is pushed, with its command."""
    assert inkflow(["promote", "net", "prod"]) == 0
    digest = subprocess.run(["md5sum", "model.bin"], check=True, capture_output=True, text=True).stdout.split()[0]
    commit("two")
    Path(".dvc/cache/files/md5", digest[:2], digest[2:]).unlink()
    capsys.readouterr()
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    note = capsys.readouterr().err
    assert "note: net@v0.0.1 is not pushed: " in note and "model.bin is neither in git, the cache nor a remote" in note
    assert remote_tags() == {"net@v0.0.2", "net#prod#2"}
    assert "model.bin is neither in git, the cache nor a remote" in error("rollback", "prod", "--push")
    assert remote_tags() == {"net@v0.0.2", "net#prod#2"}
    subprocess.run(note.split("`")[-2], shell=True, check=True)  # the command of the note, with a shell as a person's
    assert {"net@v0.0.1", "net#prod#1"}.isdisjoint(git("tag").splitlines())


@pytest.mark.farm
def test_a_version_of_a_commit_without_the_model_blocks_no_push(models: Toy, store: Path) -> None:
    """A tag that GTO made at a commit without dvc.lock is left out; the others are pushed."""
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "without dvc.lock")
    assert run_python("-m", "gto.cli", "register", "net", "--version", "v9.0.0").returncode == 0
    git("add", "dvc.lock")
    git("commit", "-qm", "with dvc.lock")
    assert inkflow(["promote", "net", "prod", "--version", "v9.0.1", "--push"]) == 0
    assert remote_tags() == {"net@v9.0.1", "net#prod#1"}


def test_lock_of_a_killed_process_is_named(models: Toy) -> None:
    """A tag's lock that a kill left is named with what to do; without it the same command ends right."""
    lock = Path(".git/refs/tags/net@v0.0.1.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    message = error("promote", "net", "prod")
    assert f"remove {lock.resolve()}" in message and "repeat the command" in message
    lock.unlink()
    assert inkflow(["promote", "net", "prod"]) == 0
