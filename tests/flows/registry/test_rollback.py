"""Rollbacks and the clock: what a stage held before comes back, also after a kill or a jump of the clock."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.cli.main import main as inkflow
from flows.registry import promotion
from flows.registry.model_files import fetch_model
from flows.registry.promotion import UNFINISHED, roll_back
from flows.registry.tags import Registry
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.flows.engine.helpers import dvc
from tests.flows.registry.conftest import commit, error, git, held


def test_rollback_leads_back_step_by_step(models: Toy) -> None:
    """Each rollback gives the stage to the version before; GTO and DVC follow; the first version is the end."""
    for content in ("one", "two", "three"):
        if content != "one":
            commit(content)
        assert inkflow(["promote", "net", "prod"]) == 0
    for version, content in (("v0.0.2", "two"), ("v0.0.1", "one")):
        assert inkflow(["rollback", "prod"]) == 0
        assert held("net") == version
        assert fetch_model(Path(), "net@prod").path.read_text() == content
    dvc("artifacts", "get", ".", "net", "--stage", "prod", "-o", "got")
    assert Path("got").read_text() == "one"
    assert "v0.0.1 is the first version in prod" in error("rollback", "prod")
    commit("four")
    assert inkflow(["promote", "net", "prod"]) == 0
    assert inkflow(["rollback", "prod"]) == 0
    assert held("net") == "v0.0.1"  # what the last promotion replaced


def make_versions(*contents: str) -> None:
    """Promotes a version of each content, after the commit that is checked out."""
    for content in contents:
        commit(content)
        assert inkflow(["promote", "net", "prod"]) == 0


@pytest.mark.farm
def test_a_rollback_that_was_killed_is_finished(models: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Repeated after a kill, it reports the version to which it led, and leads no further; a later one does."""
    make_versions("two", "three", "four")
    roll_back(Path(), None, "prod", push=False)  # and killed before the result was printed
    capsys.readouterr()
    assert inkflow(["rollback", "prod", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (held("net"), done["version"], done["before"]) == ("v0.0.2", "v0.0.2", "v0.0.3")
    assert inkflow(["rollback", "prod"]) == 0
    assert held("net") == "v0.0.1"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"from": "v0.0.2", "sha256:record": "0"}'])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    """Whether a rollback came to its end is not known from a damaged note, and known without one."""
    (tmp_path / UNFINISHED).mkdir(parents=True)
    assert promotion._unfinished(tmp_path, "net", "prod", []) is None
    path = promotion._note_path(tmp_path, "net", "prod")
    path.write_text(content)
    with pytest.raises(InvalidInput, match=f"^{path} is damaged.*shows which version holds prod: remove the file"):
        promotion._unfinished(tmp_path, "net", "prod", [])


@pytest.mark.farm
def test_no_stage_moves_with_a_damaged_note_of_a_rollback(models: Toy) -> None:
    """A rollback whose note is damaged moves no stage: the last one may have made what is there."""
    make_versions("two", "three", "four")
    roll_back(Path(), None, "prod", push=False)  # and killed before the result was printed
    [note] = (models.folder / UNFINISHED).iterdir()
    for content in (note.read_bytes().replace(b"v0.0.2", b"v0.0.4"), b""):
        note.write_bytes(content)
        assert f"{UNFINISHED / note.name} is damaged" in error("rollback", "prod")
        assert held("net") == "v0.0.2"


@pytest.mark.farm
def test_a_rollback_of_another_stage_leaves_a_killed_one_unfinished(models: Toy) -> None:
    """Repeated after a rollback of another stage, the one that was killed leads no further either."""
    for content in ("two", "three"):
        make_versions(content)
        assert inkflow(["promote", "net", "dev"]) == 0
    roll_back(Path(), None, "prod", push=False)  # and killed before the result was printed
    assert inkflow(["rollback", "dev"]) == 0
    assert inkflow(["rollback", "prod"]) == 0
    assert held("net") == "v0.0.1"


@pytest.mark.farm
def test_a_rollback_that_was_killed_before_its_tag(models: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated, it leads back by one version, as it does if another version was promoted after the kill."""
    make_versions("two", "three", "four")

    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(Registry, "assign", stop)
        roll_back(Path(), None, "prod", push=False)
    assert held("net") == "v0.0.3"
    assert inkflow(["rollback", "prod"]) == 0
    assert held("net") == "v0.0.2"
    roll_back(Path(), None, "prod", push=False)
    make_versions("five")
    assert inkflow(["rollback", "prod"]) == 0
    assert held("net") == "v0.0.1"


@pytest.mark.cases(1)
@pytest.mark.parametrize("is_seen_before", [True, False])
def test_no_tag_is_left_if_the_clock_went_back(
    models: Toy, monkeypatch: pytest.MonkeyPatch, is_seen_before: bool
) -> None:
    """A promotion that cannot come after the last one is refused, and no later rollback leads to its version."""
    make_versions("two")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "4000000000 +0000")
    git("tag", "-a", "net#prod#2", "-m", "of another clock", "net@v0.0.1^{}")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    if not is_seen_before:  # the clock goes back just then
        monkeypatch.setattr(promotion, "time", SimpleNamespace(time=lambda: 5e9, sleep=time.sleep))
    commit("three")
    assert "later time" in error("promote", "net", "prod")
    assert git("tag").split() == ["net#prod#1", "net#prod#2", "net@v0.0.1", "net@v0.0.2"]
    assert held("net") == "v0.0.1"
    assert "there is no earlier one to roll back to" in error("rollback", "prod")


@pytest.mark.farm
def test_a_tag_of_a_stage_without_a_number(models: Toy) -> None:
    """Tags of `gto assign --simple true` have no number at their end: they count as 0 in promotion and rollback."""
    make_versions("two")
    git("tag", "--delete", "net#prod#1")
    git("tag", "-a", "net#prod", "-m", "without a number", "net@v0.0.1^{}")
    assert [event.tag for event in Registry(Path()).history("net", "prod")] == ["net#prod"]
    commit("three")
    assert inkflow(["promote", "net", "prod"]) == 0
    assert held("net") == "v0.0.2"
    assert inkflow(["rollback", "prod"]) == 0
    assert held("net") == "v0.0.1"
