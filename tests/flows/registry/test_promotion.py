"""Versions and stages of models are tags that GTO and DVC read; what is registered is what is committed."""

import json
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.cli.main import main as inkflow
from flows.core.errors import RegistryFailed, RevisionUnusable
from flows.registry import promotion
from flows.registry.judgement import SCORES, Judgement, judge, scores
from flows.registry.model_files import fetch_model
from flows.registry.tags import Registry, trailers, with_trailers
from stages.report import report
from tests.conftest import Project, Toy, run_engine
from tests.flows.engine.helpers import dvc, succeeded
from tests.flows.registry.conftest import PIPELINE, commit, error, git, held, listed, make_subproject
from tests.support.report_shapes import shaped_run
from tests.support.root import ROOT


def test_gto_and_dvc_read_what_was_promoted(
    models: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`inkflow models`, GTO and `dvc artifacts get` name the same version and commit, and content, of a stage; the time
    is in UTC wherever the tag was made.
    """
    first = git("rev-parse", "HEAD")
    assert inkflow(["promote", "net", "prod"]) == 0
    second = commit("two")
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # for git
    assert inkflow(["promote", "net", "prod", "--version", "v1.0.0"]) == 0
    assert {item.created_at.tzinfo for item in Registry(Path()).versions()} == {UTC}
    assert listed(capsys) == {"net@v1.0.0": ["prod"], "net@v0.0.1": []}
    assert held("net") == "v1.0.0"
    assert [git("rev-list", "-n1", tag) for tag in ("net@v0.0.1", "net@v1.0.0")] == [first, second]
    dvc("artifacts", "get", ".", "net", "--stage", "prod", "-o", "got")
    assert Path("got").read_text() == "two"
    assert "Ada <ada@example.org>" in git("for-each-ref", "--format=%(taggername) %(taggeremail)", "refs/tags")


def test_only_what_is_committed_and_up_to_date(models: Toy) -> None:
    """Changes that are not committed, and stages that would run, are named; no tag is made."""
    Path("dvc.yaml").write_text(PIPELINE + "\n")
    assert "dvc.yaml: not committed" in error("promote", "net", "prod")
    git("commit", "-qam", "line")
    Path("in").write_text("changed")
    git("commit", "-qam", "input without a run")
    assert "train, judge: not up to date" in error("promote", "net", "prod")
    assert git("tag") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "nett", "prod"], "no artifact 'nett'; did you mean 'net'? known: net, second, untracked"),
        (["promote", "net", "pro d"], "'pro d' is no name of a stage"),
        (["promote", "net", "prod", "--version", "1.0"], "--version 1.0: expected a version such as v1.2.3"),
        (["promote", "net", "prod", "--version", "v01.0.0"], "--version v01.0.0: expected a version such as v1.2.3"),
        (["promote", "net", "prod", "--version", "v1.0.0-a b"], "v1.0.0-a b: expected a version such as v1.2.3"),
        (["promote", "net", "prod", "--version", "v1.0.0-a.lock"], "a.lock: expected a version such as v1.2.3"),
        (["promote", "net", "prod", "--version", f"v1.0.0-{'a' * 300}"], "aaa: expected a version such as v1.2.3"),
        (["promote", "net", "prod\n"], "'prod\\n' is no name of a stage"),
        (["promote", "net", "a" * 300], "aaa' is no name of a stage: expected at most 100 letters"),
        (["promote", "net", "prod", "--force", " \n"], "--force: got an empty reason; say why"),
        (["promote", "untracked", "prod"], "untracked: in is no output of a stage"),
        (["rollback", "prod"], "no version holds prod; no version holds one"),
        (["predict", "net@prod", "in"], "net@prod: no version of net is registered; none is"),
        (["trace", "xyz"], "'xyz' is no SHA-256"),
        (["trace", "0123456789"], "no model here has a SHA-256 that begins with 0123456789"),
    ],
)
def test_mistakes_get_a_sentence(models: Toy, arguments: list[str], message: str) -> None:
    """A wrong name says what is known, and makes no tag."""
    assert message in error(*arguments)
    assert git("tag") == ""


def test_a_stage_of_several_models(models: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage is one of each model: a rollback asks which model is meant; the version of a commit is made once."""
    for model in ("net", "second"):
        assert inkflow(["promote", model, "prod"]) == 0
    assert inkflow(["promote", "net", "staging"]) == 0  # the same commit: the same version
    assert listed(capsys) == {"net@v0.0.1": ["prod", "staging"], "second@v0.0.1": ["prod"]}
    assert "held by several models (net, second)" in error("rollback", "prod")
    assert "holds prod already" in error("promote", "net", "prod")
    assert "this commit is already net v0.0.1" in error("promote", "net", "test", "--version", "v2.0.0")


def test_the_message_of_a_tag_is_fit_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason has no secret, control sequence or undecodable byte in the tag, and makes no fact of its own."""
    monkeypatch.setenv("STORE_PASSWORD", "swordfish")
    reason = "better\nMD5: 0\x1b[2J, of https://me:hidden@host/x and \udcff, swordfish"
    message = with_trailers("Version of net", {"Forced": reason, "MD5": "1"})
    assert trailers(message) == {
        "Forced": "better MD5: 0, of https://me:***@host/x and \\udcff, ***",
        "MD5": "1",
    }


def test_push_takes_files_before_tags(models: Toy, tmp_path: Path) -> None:
    """With --push another clone has the tags and gets the model; without a DVC remote nothing is pushed."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")], check=True)
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    assert "remote" in error("promote", "net", "prod", "--push")
    assert git("tag") == ""
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    git("commit", "-qam", "remote")
    assert inkflow(["promote", "net", "prod", "--push"]) == 0
    git("push", "-q", "origin", "HEAD:main")
    assert "refs/tags/net#prod#" in git("ls-remote", "--tags", "origin")
    dvc("artifacts", "get", str(tmp_path / "origin.git"), "net", "--stage", "prod", "-o", str(tmp_path / "got"))
    assert (tmp_path / "got").read_text() == "one"


def test_in_a_folder_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project below the root of its repository has its own names: tags as GTO has them, `sub=net@v0.0.1`."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    project = tmp_path / "sub"
    project.mkdir()
    monkeypatch.chdir(project)
    make_subproject()
    assert inkflow(["promote", "net", "prod"]) == 0
    assert sorted(git("tag").split()) == ["sub=net#prod#1", "sub=net@v0.0.1"]
    dvc("artifacts", "get", str(tmp_path), "sub:net", "--stage", "prod", "-o", "got")
    assert Path("got").read_text() == "one"


@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(900)
def test_a_worse_model_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is worse on the same test images needs a reason, which its tag keeps; predictions name it."""
    models = {
        "dense": {"network": "dense", "units": [32], "optimizer": {"name": "adam"}, "batch_size": 32, "epochs": 8}
    }
    project.set({"models": models, "gates.every": {}, "datasets.digits.stand_in_for": None})
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    succeeded(run_engine())
    git("add", "--all")
    git("commit", "-qm", "good")
    assert inkflow(["promote", "dense", "prod"]) == 0
    project.set({"models.dense.epochs": 1})
    succeeded(run_engine())
    git("commit", "-qam", "worse")
    assert "dense is not promoted to prod: worse than v0.0.1 (" in error("promote", "dense", "prod")
    assert inkflow(["promote", "dense", "prod", "--force", "a test"]) == 0
    assert "Forced: a test" in git("for-each-ref", "--format=%(contents)", "refs/tags/dense@v0.0.2")
    capsys.readouterr()
    inbox = project.folder / "x.npy"
    np.save(inbox, np.load("data/raw/dataset.npz")["x_test"][:2])
    for version in ("v0.0.1", "v0.0.2"):
        assert inkflow(["predict", f"dense@{version}", str(inbox), "--json"]) == 0
        first = json.loads(capsys.readouterr().out.splitlines()[0])
        assert first["model_version"] == version
        assert first["model_commit"] == git("rev-list", "-n1", f"dense@{version}")
    sha = Path(".inkflow/models/dense@v0.0.1/version.json").read_text().split('"sha256": "')[1][:64]
    assert inkflow(["trace", sha[:12], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"] == [{"model": "dense", "version": "v0.0.1", "stages": []}]
    assert found["parameters"]["params.yaml"]["models.dense"]["epochs"] == 8
    assert "data/prepared" in found["inputs"] and found["environment"]["versions"]


def test_the_scores_of_a_regression_are_recorded(
    models: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The errors of a regression are recorded as the accuracy of a classifier, and `inkflow models` shows them."""
    monkeypatch.setenv("COLUMNS", "160")
    shown: dict[str, str] = {}
    for task, name in (("regression", "mean_absolute_error"), ("multiclass", "test_accuracy")):
        run = shaped_run(tmp_path / task, 1, 10, task)
        assert report.main(run.arguments()) == 0
        recorded = scores(run.root, "model_00")
        row = pd.read_csv(run.root / SCORES).iloc[0]
        assert {name, f"{name}_low", f"{name}_high", "validation_loss", "test_samples"} <= recorded.keys()
        assert recorded == {column: row[column] for column in recorded}
        if task == "regression":
            assert {"root_mean_squared_error", "r2"} <= recorded.keys()
        git("tag", "-a", f"net@v0.0.{len(shown) + 1}", "-m", f"x\n\nScores: {json.dumps(recorded)}")
        text = f"{row[name]:.4f} ({row[f'{name}_low']:.4f} to {row[f'{name}_high']:.4f})"
        shown[task] = text if task == "multiclass" else f"MAE {text}"
        git("commit", "-qm", "next", "--allow-empty")
    capsys.readouterr()
    assert inkflow(["models"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(text in printed for text in shown.values())


@pytest.mark.parametrize("damage", ["copy", "cache", "tag"])
def test_what_was_changed_afterwards_is_refused(models: Toy, damage: str) -> None:
    """A changed copy is fetched again; a changed cache object without a remote and a moved tag are refused."""
    assert inkflow(["promote", "net", "prod"]) == 0
    copy = fetch_model(Path(), "net@prod").path
    assert copy.read_text() == "one"
    if damage == "copy":
        copy.chmod(0o644)
        copy.write_text("two")
        assert fetch_model(Path(), "net@prod").path.read_text() == "one"
        return
    copy.unlink()
    if damage == "cache":
        digest = subprocess.run(["md5sum", "model.bin"], check=True, capture_output=True, text=True).stdout.split()[0]
        cached = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        cached.chmod(0o644)
        cached.write_text("two")
        with pytest.raises((RegistryFailed, RevisionUnusable)):
            fetch_model(Path(), "net@prod")
    else:
        message = git("for-each-ref", "--format=%(contents)", "refs/tags/net@v0.0.1")
        commit("two")
        git("tag", "-f", "-a", "-m", message, "net@v0.0.1")
        with pytest.raises(RegistryFailed, match="the tag was moved"):
            fetch_model(Path(), "net@v0.0.1")


def test_a_folder_is_no_model_to_predict_with(models: Toy) -> None:
    """A folder can be registered, but no command that reads a model takes it; nothing of it is left."""
    Path("dvc.yaml").write_text(PIPELINE.replace("echo 1 > other", "mkdir other; echo 1 > other/a"))
    commit("two")
    assert inkflow(["promote", "second", "prod"]) == 0
    for command in (["predict", "second@prod", "in"], ["serve", "second@prod"]):
        assert "second@prod: other is a folder, expected the file of a model" in error(*command)
    assert not Path(".inkflow/models").exists()


def test_two_promotions_at_once(models: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process registers the model meanwhile, the sentence says so: nothing is damaged."""

    def judge_late(*arguments: Any) -> Judgement:
        monkeypatch.setattr(promotion, "judge", judge)
        assert inkflow(["promote", "net", "prod"]) == 0
        return judge(*arguments)

    monkeypatch.setattr(promotion, "judge", judge_late)
    message = error("promote", "net", "prod")
    assert "another process registered a version" in message and message.endswith("; repeat the command")
    assert "net v0.0.1 holds prod already" in error("promote", "net", "prod")
    commit("two")
    message = error("promote", "net", "prod", "--version", "v0.0.1")
    assert message == "Version 'v0.0.1' already was registered at another commit; give another --version, or none"


def test_import_of_gto_closes_no_handler() -> None:
    """GTO configures logging when it is imported, which would close the handlers that are there, and their streams."""
    code = (
        "import logging, sys; closed = []; handler = logging.StreamHandler(); "
        "handler.close = lambda: closed.append(1); "
        "import flows.registry.tags; assert 'gto.log' in sys.modules and not closed"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
