"""Artifacts whose paths are templates, folders and names that no tag can have, and shallow clones."""

from contextlib import chdir
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from flows.core.errors import RegistryFailed
from flows.registry.model_files import fetch_model
from tests.conftest import Toy
from tests.flows.registry.conftest import PIPELINE, commit, error, git, held, listed, make_subproject

TEMPLATES = """
vars: [params.yaml]
stages:
  train:
    cmd: cat in > ${where}/model.bin
    deps: [in]
    outs: ["${where}/model.bin"]
artifacts:
  net: {path: "${where}/model.bin", type: model}
"""


def test_a_path_with_a_template(models: Toy, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such a model is promoted, pushed, fetched and rolled back as others are, also once its value has changed."""
    models.write({"dvc.yaml": TEMPLATES, "params.yaml": "where: one\n", "one/.gitignore": "/model.bin\n"})
    commit("first")
    assert inkflow(["promote", "net", "prod"]) == 0
    models.write({"params.yaml": "where: two\n", "two/.gitignore": "/model.bin\n"})
    commit("second")
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    assert listed(capsys) == {"net@v0.0.2": ["prod"], "net@v0.0.1": []}
    for version, content in (("v0.0.1", "first"), ("v0.0.2", "second")):
        assert fetch_model(Path(), f"net@{version}").path.read_text() == content
    git("tag", "-am", "by hand", "net@v9.0.0", commit("third"))
    with pytest.raises(RegistryFailed, match=r"its path \$\{where\}/model.bin is a template there"):
        fetch_model(Path(), "net@v9.0.0")
    git("tag", "-d", "net@v9.0.0")
    assert inkflow(["rollback", "prod", "--push"]) == 0
    assert held("net") == "v0.0.1"


@pytest.mark.parametrize("folder", ["my project", "größe", "a=b", ".hidden", "a.lock/b"])
def test_a_folder_that_no_tag_can_have(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project in a folder that cannot be in a tag's name is not promoted; the sentence names the folder to rename."""
    git("init", "-q", str(tmp_path / "top"))
    project = tmp_path / "top" / folder
    project.mkdir(parents=True)
    monkeypatch.setenv("INKFLOW_PROJECT", str(project))
    with chdir(project):
        make_subproject()
        sentence = error("promote", "net", "prod")
        assert sentence.startswith(f"the project's folder {folder!r} cannot be in the name of a tag")
        assert f"rename it below {(tmp_path / 'top').resolve()}" in sentence
        assert git("tag") == ""


@pytest.mark.parametrize("name", ["net.v2", "-net", "netz größe", "a=b"])
def test_an_artifact_that_no_tag_can_have(models: Toy, name: str) -> None:
    """An artifact whose name cannot be that of a tag is not promoted; the sentence says what to rename."""
    models.write({"dvc.yaml": PIPELINE.replace("  net:", f"  '{name}':")})
    git("commit", "-qam", "renamed")
    assert error("promote", "--", name, "prod").startswith(f"the artifact {name!r} cannot be the name of a tag")
    assert git("tag") == ""


def test_two_versions_at_one_commit(models: Toy) -> None:
    """A second version of a model at a commit, which GTO does not read, is named with the way to remove it."""
    assert inkflow(["promote", "net", "prod"]) == 0
    git("tag", "-am", "by hand", "net@v0.0.2")
    first = git("rev-parse", "HEAD")[:10]
    expected = f"net has several versions at the commit {first}, expected one: net@v0.0.1, net@v0.0.2; delete the tag"
    for command in (["promote", "second", "prod"], ["rollback", "prod"], ["models"]):
        assert expected in error(*command)
    git("tag", "-d", "net@v0.0.2")
    assert inkflow(["promote", "second", "prod"]) == 0


def test_a_shallow_clone_says_what_it_lacks(models: Toy, tmp_path: Path) -> None:
    """Versions that a shallow clone does not find may be those of older commits: the sentence says how to get them."""
    assert inkflow(["promote", "second", "test"]) == 0
    for content in ("two", "three"):
        commit(content)
        assert inkflow(["promote", "net", "prod"]) == 0
    source, place = f"file://{models.folder}", str(tmp_path / "shallow")
    git("-c", "advice.detachedHead=false", "clone", "-q", "--depth=1", "--branch=net@v0.0.2", source, place)
    with chdir(tmp_path / "shallow"):
        git("fetch", "-q", "--depth=1", "origin", "refs/tags/net#prod#2:refs/tags/net#prod#2")
        sentence = error("rollback", "prod")
        assert sentence.startswith(
            "net v0.0.2 is the first version in prod of those that are known here; this clone is"
        )
        assert error("rollback", "test").endswith("`git fetch --tags --unshallow` brings them")
        for address in ("net@v0.0.1", "net@test", "second@test"):
            assert error("predict", address, "in").endswith("`git fetch --tags --unshallow` brings them")
        git("fetch", "-q", "--tags", "--unshallow")
        git("config", "user.name", "Ada")
        git("config", "user.email", "ada@example.org")
        assert inkflow(["rollback", "prod"]) == 0
    assert "no version holds nothing" in error("rollback", "nothing") and "shallow" not in error("rollback", "nothing")
