"""A project with two models that are registered, and what GTO and the commands tell of them."""

import json
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from stages.base.errors import InkflowError
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import dvc, succeeded
from tests.support.commands import run_python
from tests.support.copied_toy import copied_toy

PIPELINE = """
stages:
  train: {cmd: cat in > model.bin; echo 1 > other, deps: [in], outs: [model.bin, other]}
  judge: {cmd: wc -c < model.bin > size, deps: [model.bin], outs: [size]}
artifacts:
  net: {path: model.bin, type: model}
  second: {path: other, type: model}
  untracked: {path: in, type: model}
"""


def git(*arguments: str) -> str:
    """Runs git and returns its output."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit(content: str) -> str:
    """Makes a model of `content`, commits it, and returns the commit."""
    Path("in").write_text(content)
    succeeded(run_engine())
    git("add", "--all")
    git("commit", "-qm", content)
    return git("rev-parse", "HEAD")


def make_models(folder: Path) -> None:
    """Makes a project with two models, whose first versions are committed."""
    toy = Toy(folder)
    toy.write({"dvc.yaml": PIPELINE, ".gitignore": "/.inkflow\n"})
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    commit("one")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder."""
    return copied_toy(make_models, tmp_path / "toy", monkeypatch)


@pytest.fixture
def store(models: Toy, tmp_path: Path) -> Path:
    """A DVC remote of the project, which also has a remote of Git; returns its folder."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")], check=True)
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    git("commit", "-qam", "remote")
    return tmp_path / "store"


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Returns the stages of each version that `inkflow models` lists."""
    capsys.readouterr()
    assert inkflow(["models", "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    return {f"{item['model']}@{item['version']}": item["stages"] for item in versions}


def held(model: str) -> str:
    """Returns the version that holds `prod`, according to GTO."""
    shown = run_python("-m", "gto.cli", "show", f"{model}#prod", "--json")
    assert shown.returncode == 0, shown.stderr
    return str(json.loads(shown.stdout)[0]["version"])


def error(*arguments: str) -> str:
    """Returns the message of a command that fails."""
    with pytest.raises(InkflowError) as raised:
        inkflow(arguments)
    return str(raised.value)


def make_subproject() -> None:
    """Makes the current folder, below the root of a repository, a project with one commit."""
    dvc("init", "-q", "--subdir")
    Path("dvc.yaml").write_text(PIPELINE)
    Path(".gitignore").write_text("/.inkflow\n")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    commit("one")
