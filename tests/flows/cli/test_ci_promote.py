"""`inkflow ci promote`: after the merge of a retraining its models take over the stage; a forge on loopback."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from stages.base.errors import InkflowError
from tests.conftest import Toy
from tests.flows.registry.conftest import commit, git, held, models
from tests.support.colleagues import before_push, clone_of, pushed_by
from tests.support.commands import dvc
from tests.support.forge_server import TOKEN, ForgeServer

__all__ = ["models"]  # fixture


@pytest.fixture
def forge() -> Iterator[ForgeServer]:
    """A running forge."""
    with ForgeServer().running() as server:
        yield server


@pytest.fixture
def job(models: Toy, forge: ForgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForgeServer:
    """A job of GitHub in a project with both remotes, in which `net` is in prod and `second` in no stage."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")], check=True)
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    git("commit", "-qam", "remote")
    assert inkflow(["promote", "net", "prod"]) == 0
    for name, value in {"GITHUB_ACTIONS": "true", **forge.environment("GitHub")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITLAB_CI", raising=False)
    return forge


def promote(monkeypatch: pytest.MonkeyPatch, stage: str = "prod") -> int:
    """Runs the lane for the commit that is checked out."""
    monkeypatch.setenv("GITHUB_SHA", git("rev-parse", "HEAD"))
    return inkflow(["ci", "promote", stage])


@pytest.mark.farm
def test_a_merged_retraining(
    job: ForgeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The merge of a branch `retrain/...` promotes the model in prod and pushes the tags; other commits change nothing,
    nor does a model whose file is the same.
    """
    new = commit("two")
    assert promote(monkeypatch) == 0
    assert f"no promotion: commit {new[:10]} is no merge of a branch retrain/..." in capsys.readouterr().out
    job.merged[new] = "feature/x"
    assert promote(monkeypatch) == 0 and held("net") == "v0.0.1"
    job.merged[new] = "retrain/other/project/mnist-0123456789"  # of another project in this repository
    assert promote(monkeypatch) == 0 and held("net") == "v0.0.1"
    job.merged[new] = "retrain/mnist-0123456789"
    assert promote(monkeypatch) == 0 and held("net") == "v0.0.2"
    assert "net v0.0.2 is in prod in place of v0.0.1" in capsys.readouterr().out
    assert "refs/tags/net@v0.0.2" in git("ls-remote", "--tags", "origin")
    assert promote(monkeypatch) == 0
    assert "net v0.0.2 stays in prod: its file has not changed" in capsys.readouterr().out
    assert promote(monkeypatch, "staging") == 0
    assert "no version holds staging" in capsys.readouterr().out


def test_a_refused_model_keeps_its_version(
    job: ForgeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that cannot be promoted fails the lane with a sentence; so does a token that is refused."""
    Path("in").write_text("changed")
    git("commit", "-qam", "input without a run")
    job.merged[git("rev-parse", "HEAD")] = "retrain/mnist-0123456789"
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text() + "\n")
    Path("model.bin").write_text("other")
    dvc("commit", "-q", "--force")
    assert promote(monkeypatch) == 1
    assert "net v0.0.1 stays in prod: " in capsys.readouterr().out and held("net") == "v0.0.1"
    monkeypatch.setenv("GITHUB_TOKEN", "another-token")
    with pytest.raises(InkflowError, match="the token is wrong or has expired") as raised:
        promote(monkeypatch)
    assert TOKEN not in str(raised.value)
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert promote(monkeypatch) == 0
    assert "this is not a job of GitHub or GitLab" in capsys.readouterr().out


def test_the_job_of_an_earlier_merge_comes_last(
    job: ForgeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version of a newer commit keeps the stage, also if it was promoted after the checkout of the job."""
    commits = [commit(content) for content in ("two", "three")]
    job.merged |= dict.fromkeys(commits, "retrain/mnist-0123456789")
    assert promote(monkeypatch) == 0 and held("net") == "v0.0.2"
    git("tag", "--delete", "net@v0.0.2", "net#prod#2")  # the checkout is older
    git("checkout", "-q", commits[0])
    dvc("checkout", "-q")
    capsys.readouterr()
    assert promote(monkeypatch) == 0
    assert f"net v0.0.2 stays in prod: it is of a newer commit, {commits[1][:10]}" in capsys.readouterr().out
    assert git("tag").split() == ["net#prod#1", "net#prod#2", "net@v0.0.1", "net@v0.0.2"]


def test_somebody_promotes_while_the_lane_does(
    job: ForgeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The lane fails with the sentence of `promote`, and does not say that the version before stays."""
    git("push", "-q", "origin", "HEAD:main", "net@v0.0.1", "net#prod#1")
    job.merged[commit("two")] = "retrain/mnist-0123456789"
    before_push(pushed_by(clone_of(tmp_path), "net#prod#2"))
    assert promote(monkeypatch) == 1
    assert "net is not promoted: another promotion of net came first (net v0.0.1 by Bob)" in capsys.readouterr().out
