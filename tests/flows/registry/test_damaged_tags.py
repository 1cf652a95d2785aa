"""A damaged tag of a version or stage is named: Git ignores it, and a stage would have another version."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.core.errors import RegistryFailed
from flows.registry.tags import Registry
from flows.status.model_section import models_section

IDENTITY = ["-c", "user.name=t", "-c", "user.email=t@t"]


@pytest.fixture
def tag(tmp_path: Path) -> Path:
    """The file of a tag in a repository with one commit."""
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"], ["tag", "-am", "t", "dense#prod#1"]):
        subprocess.run(["git", *IDENTITY, *words], cwd=tmp_path, check=True)
    return tmp_path / ".git/refs/tags/dense#prod#1"


def test_a_damaged_tag_is_named(tag: Path, tmp_path: Path) -> None:
    """An emptied, cut or other file is no tag, and an object that does not exist has none; both are one sentence."""
    Registry(tmp_path)
    old = tag.read_text()
    for content in ("", old[:20], "\0" * 41):
        tag.write_text(content)
        with pytest.raises(RegistryFailed, match=r"the tag dense#prod#1 is damaged; delete .*fetch origin tag"):
            Registry(tmp_path)
    tag.write_text(("0" if old[0] != "0" else "1") + old[1:])
    with pytest.raises(RegistryFailed, match=r"the tag dense#prod#1 is damaged; delete .*fetch origin tag"):
        Registry(tmp_path)


@pytest.mark.parametrize("content", ["", "0" * 40 + "\n", "1" * 40 + "\n"], ids=["empty", "zeros", "no object"])
def test_the_status_needs_a_person_for_a_damaged_tag(tag: Path, tmp_path: Path, content: str) -> None:
    """The section of the models stays if the only tag of a stage is damaged, and names the tag."""
    tag.write_text(content)
    section = models_section(tmp_path, datetime.now(UTC))
    assert section is not None
    assert ["the tag dense#prod#1 is damaged" in need.what for need in section.needs] == [True]


def test_other_tags_are_not_read(tag: Path, tmp_path: Path) -> None:
    """A damaged tag that is none of the registry does not matter here."""
    tag.with_name("v1").write_text("")
    Registry(tmp_path)


def test_files_of_git_are_no_damaged_tags(tag: Path, tmp_path: Path) -> None:
    """The lock of a tag that Git writes just now, or that a kill left, and a symbolic reference are in order."""
    tag.with_name("dense#prod#2.lock").write_text("")
    subprocess.run(
        ["git", "symbolic-ref", "refs/tags/dense@v1.0.0", "refs/tags/dense#prod#1"], cwd=tmp_path, check=True
    )
    Registry(tmp_path)


def test_a_tag_that_is_deleted_meanwhile_is_none(tag: Path, tmp_path: Path) -> None:
    """A tag whose file disappears between the list of the files and the reading, as a dangling link does, is none."""
    tag.with_name("dense#prod#2").symlink_to(tmp_path / "missing")
    Registry(tmp_path)


def test_the_remote_of_the_advice_is_the_one_to_push_to(tag: Path, tmp_path: Path) -> None:
    """The command that fetches a damaged tag again names the remote that Git's configuration has."""
    subprocess.run(["git", "config", "remote.pushDefault", "team"], cwd=tmp_path, check=True)
    tag.write_text("")
    with pytest.raises(RegistryFailed, match="git fetch team tag 'dense#prod#1'"):
        Registry(tmp_path)
