"""A small Git and DVC project whose model `reader` reads printed digits, and whose versions name them differently."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import succeeded
from tests.support.copied_toy import copied_toy
from tests.support.pictures import write_reader

MODEL = "models/reader/model.onnx"
PIPELINE = f"""
stages:
  train: {{cmd: mkdir -p models/reader && cp in.onnx {MODEL}, deps: [in.onnx], outs: [{MODEL}]}}
artifacts:
  reader: {{path: {MODEL}, type: model}}
"""


def git(*arguments: str) -> str:
    """Runs git in the current folder and returns its output."""
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def start_project(toy: Toy) -> None:
    """Makes the project, without a model."""
    toy.write({"dvc.yaml": PIPELINE, ".gitignore": "/.inkflow\n/serve.log\n"})
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")


def commit_version(mark: str) -> str:
    """Makes a model whose classes are `MARK 0` to `MARK 9`, commits it, and returns the commit."""
    write_reader(Path("in.onnx"), [f"{mark} {digit}" for digit in range(10)])
    succeeded(run_engine())
    git("add", "--all")
    git("commit", "-qm", mark)
    return git("rev-parse", "HEAD")


def make_reader(folder: Path) -> None:
    """Makes the project with the first version, `one`, committed."""
    start_project(Toy(folder))
    commit_version("one")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder."""
    return copied_toy(make_reader, tmp_path / "toy", monkeypatch)
