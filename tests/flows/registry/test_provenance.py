"""`inkflow trace`: the commit that it names for a model."""

import hashlib
import json
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from tests.conftest import Toy
from tests.flows.registry.conftest import commit, git

PIPELINE = """
stages:
  train: {cmd: cp in net.onnx, deps: [in], outs: [net.onnx]}
artifacts:
  net: {path: net.onnx, type: model}
"""


@pytest.fixture
def project(toy: Toy) -> Toy:
    """A project whose model has the content of `in`, without a commit."""
    toy.write({"dvc.yaml": PIPELINE, ".gitignore": "/.inkflow\n"})
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    return toy


def traced(content: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the commit that `inkflow trace` names for the model of this content."""
    capsys.readouterr()
    assert inkflow(["trace", hashlib.sha256(content.encode()).hexdigest(), "--json"]) == 0
    return str(json.loads(capsys.readouterr().out)["commit"])


def test_a_model_of_a_merged_branch(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A model is found that only a merged branch had, which is deleted, and whose dvc.lock the merge did not take."""
    commit("one")
    git("checkout", "-qb", "side")
    side = commit("side")
    git("checkout", "-q", "-")
    commit("two")
    git("merge", "-q", "-s", "ours", "-m", "merge", "side")
    git("branch", "-qD", "side")
    assert traced("side", capsys) == side


def test_a_lock_file_that_was_cut_short(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Commits whose dvc.lock ends too early are passed over, whatever is missing."""
    first = commit("one")
    commit("two")
    for text in ("stages:", "stages:\n  train:", "stages:\n  train:\n    outs:", "stages:\n  train:\n    outs:\n    -"):
        Path("dvc.lock").write_text(f"schema: '2.0'\n{text}\n")
        git("commit", "-qam", "cut")
    assert traced("one", capsys) == first


def test_the_commit_of_a_registered_model(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The commit of a registered model is that of its version, also if a later one has the model again."""
    first = commit("one")
    assert inkflow(["promote", "net", "prod"]) == 0
    commit("two")
    assert commit("one") != first
    assert traced("one", capsys) == first


def test_versions_name_their_models(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that two artifacts of dvc.yaml name has a version of each; the table and JSON tell which is whose."""
    project.write({"dvc.yaml": f"{PIPELINE}  best: {{path: net.onnx, type: model}}\n"})
    commit("one")
    assert inkflow(["promote", "best", "trial"]) == inkflow(["promote", "net", "prod"]) == 0
    sha256 = hashlib.sha256(b"one").hexdigest()
    capsys.readouterr()
    assert inkflow(["trace", sha256, "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert {(item["model"], item["version"], *item["stages"]) for item in versions} == {
        ("best", "v0.0.1", "trial"),
        ("net", "v0.0.1", "prod"),
    }
    assert inkflow(["trace", sha256]) == 0
    shown = capsys.readouterr().out
    assert "best@v0.0.1 (trial)" in shown and "net@v0.0.1 (prod)" in shown
