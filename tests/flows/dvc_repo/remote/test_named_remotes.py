"""Outputs that name their remotes, in a project in which no remote is the default."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from flows.core.errors import NoRemote
from flows.dvc_repo import remotes
from tests.conftest import Toy, run_engine
from tests.flows.dvc_repo.test_remotes import commit
from tests.support.commands import run_python
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import add_remote
from tests.support.root import ROOT

PIPELINE = """
stages:
  source: {cmd: echo >> source.runs; mkdir -p out; cp in out/one, deps: [in], outs: [out: {remote: one}]}
  join: {cmd: echo >> join.runs; cat out/one > joined; echo 1 >> joined, deps: [out/one], outs: [joined: {remote: two}]}
"""
PLAIN = "  plain: {cmd: cat in in > plain, deps: [in], outs: [plain]}\n"
NOTE = "note: no DVC remote is the default: the run cache is not exchanged; choose one: `dvc remote default NAME`"


def make_project(folder: Path) -> None:
    """Makes a committed project whose stages ran."""
    toy = Toy(folder)
    toy.write({"dvc.yaml": PIPELINE, "in": "one\n", ".gitignore": "/*.runs\n/.inkflow\n/out\n/joined\n"})
    for name in ("one", "two"):
        add_remote(folder / name, name, is_default=False)  # `dvc.yaml` has to name remotes that exist
    assert run_engine().error is None
    commit(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, with two remotes that are folders."""
    toy = copied_toy(make_project, tmp_path / "toy", monkeypatch)
    for name in ("one", "two"):
        add_remote(tmp_path / name, name, is_default=False)
    commit(toy.folder)
    return toy


def call(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `inkflow` in `folder`; it must succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = run_python("-m", "flows", *arguments, folder=folder, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.farm
def test_push_and_pull(project: Toy, tmp_path: Path) -> None:
    """After `inkflow run --push`, `inkflow run --pull` in another clone restores all stages, as the plan says."""
    assert remotes.missing_in_remote(Path()) == {"source": ["out"], "join": ["joined"]}
    pushed = call("run", "--push", folder=project.folder)
    assert NOTE in pushed.stderr
    counts = {name: sum(path.is_file() for path in (tmp_path / name).rglob("*")) for name in ("one", "two")}
    assert counts == {"one": 2, "two": 1}  # a folder's list, its file, and the other output
    folder = tmp_path / "second"
    subprocess.run(["git", "clone", "-q", str(project.folder), str(folder)], check=True)
    plan = json.loads(call("plan", "--json", "--pull", folder=folder).stdout)["stages"]
    assert {row["stage"]: row["verdict"] for row in plan} == {"source": "restore", "join": "restore"}
    pulled = call("run", "--pull", "--no-server", folder=folder)
    assert "0 of 2 stages ran, 2 restored" in pulled.stdout
    assert (folder / "joined").read_text() == "one\n1\n"
    assert not list(folder.glob("*.runs"))
    assert remotes.missing_in_remote(folder) == {}


def test_an_output_without_a_remote(project: Toy) -> None:
    """Such an output stays on this machine, and is named as missing; the others are pushed."""
    project.write({"dvc.yaml": PIPELINE + PLAIN})
    assert run_engine().error is None
    assert remotes.push_all(Path()) == "3 files and 0 entries of the run cache pushed"
    assert remotes.missing_in_remote(Path()) == {"plain": ["plain"]}


def test_what_needs_a_default_remote(project: Toy) -> None:
    """A promotion is refused, as its files go to the default remote; a run is not."""
    remotes.require_remote(Path())
    with pytest.raises(NoRemote):
        remotes.require_default_remote(Path())
