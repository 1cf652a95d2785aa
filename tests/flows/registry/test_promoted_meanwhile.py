"""Two people promote at once: the second one gets a sentence, and keeps no tag of what did not happen."""

import re
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from tests.conftest import Toy
from tests.flows.registry.conftest import commit, error, git, held, listed
from tests.support.colleagues import before_push, clone_of, pushed_by
from tests.torture.support.registry_state import unpushed


@pytest.fixture
def colleague(models: Toy, store: Path, tmp_path: Path) -> Path:
    """The clone of somebody else, at the commit of the first version, which is not registered yet."""
    git("push", "-q", "origin", "HEAD:main")
    return clone_of(tmp_path)


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("options", "tags", "next_version"),
    [
        ((), ("net@v0.0.1", "net#prod#1"), "v0.0.2"),
        (("--version", "v0.5.0"), ("net@v0.0.1", "net#prod#1"), "v0.5.0"),
        ((), ("net@v0.0.1", "net#dev#1"), "v0.0.2"),  # another stage, the same name of a version
    ],
)
def test_another_promotion_comes_first(
    models: Toy,
    colleague: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    tags: tuple[str, ...],
    next_version: str,
) -> None:
    """A promotion that another one overtakes leaves no tag, names the other one, and succeeds when it is repeated."""
    commit("two")
    before_push(pushed_by(colleague, *tags))
    message = error("promote", "net", "prod", "--push", *options)
    assert message == (
        "another promotion of net came first (net v0.0.1 by Bob); the tags that this call made are removed "
        f"(net@{options[1] if options else 'v0.0.1'}, net#prod#1): look at `inkflow models`, and repeat the command"
    )
    stage = tags[1].split("#")[1]
    assert git("tag").split() == sorted(tags) and listed(capsys) == {"net@v0.0.1": [stage]}
    assert inkflow(["promote", "net", "prod", "--push", *options]) == 0
    assert held("net") == next_version and unpushed(Path()) == []
    assert set(tags) < set(git("tag").split())


def test_the_same_commit_is_promoted_twice(models: Toy, colleague: Path) -> None:
    """If both promote the same commit, the command that is repeated finds that it has the stage."""
    before_push(pushed_by(colleague, "net@v0.0.1", "net#prod#1"))
    assert "another promotion of net came first (net v0.0.1 by Bob)" in error("promote", "net", "prod", "--push")
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    assert git("tag").split() == ["net#prod#1", "net@v0.0.1"] and unpushed(Path()) == []


@pytest.mark.farm
def test_a_promotion_comes_before_a_rollback(models: Toy, colleague: Path) -> None:
    """A rollback that a promotion overtakes leaves no tag; only a second call takes that promotion back."""
    for content in ("two", "three"):
        commit(content)
        assert inkflow(["promote", "net", "prod", "--push"]) == 0
    git("-C", str(colleague), "fetch", "-q", "--tags")
    before_push(pushed_by(colleague, "net@v0.0.3", "net#prod#3"))
    assert "another promotion of net came first (net v0.0.3 by Bob)" in error("rollback", "prod", "--push")
    assert held("net") == "v0.0.3" and unpushed(Path()) == []
    assert inkflow(["rollback", "prod", "--push"]) == 0
    assert held("net") == "v0.0.2" and unpushed(Path()) == []


@pytest.mark.farm
def test_a_promotion_that_was_not_pushed_comes_too_late(models: Toy, colleague: Path) -> None:
    """Tags that are only here, with the names of pushed ones: one command removes all, and none overwrites the remote.

    So it is after a kill between the tags and their push.
    """
    commit("two")
    assert inkflow(["promote", "net", "prod"]) == 0
    subprocess.run(pushed_by(colleague, "net@v0.0.1", "net#prod#1"), shell=True, check=True)
    message = error("promote", "net", "prod", "--push")
    assert "--force" not in message and "another promotion came first" in message
    subprocess.run(re.findall("`(.*?)`", message)[0], shell=True, check=True)
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    assert held("net") == "v0.0.2" and unpushed(Path()) == []


def test_a_remote_that_refuses_tags(models: Toy, store: Path) -> None:
    """A push that is refused for another reason gives that reason; the tags stay for a later call."""
    hook = Path(git("remote", "get-url", "origin"), "hooks/pre-receive")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no tags today\nexit 1\n")
    hook.chmod(0o755)
    assert "no tags today" in error("promote", "net", "prod", "--push")
    assert git("tag").split() == ["net#prod#1", "net@v0.0.1"]
    hook.unlink()
    assert inkflow(["promote", "net", "prod", "--push"]) == 0 and unpushed(Path()) == []
