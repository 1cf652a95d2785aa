"""Verbs in a DVC project that is not Inkflow's own pipeline, and in one with a merge conflict, say what is true."""

import json
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main as inkflow
from flows.core.errors import RevisionUnusable
from stages.base.errors import InvalidInput
from tests.conftest import Toy, run_engine
from tests.flows.dvc_repo.test_remotes import commit
from tests.support.copied_toy import copied_toy

GRAPH = """
stages:
  count:
    cmd: echo "{\\"n\\":${size}}" > score.json; echo ${size} > out
    params: [size]
    outs: [out]
    metrics: [{score.json: {cache: false}}]
"""
CONFLICT = "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n"


def make_foreign(folder: Path) -> None:
    """Makes a committed project of another pipeline in the current folder, with a newer, uncommitted result."""
    toy = Toy(folder)
    toy.write({"dvc.yaml": GRAPH, "params.yaml": "size: 1\n", ".gitignore": "/out\n/.inkflow\n"})
    assert run_engine().error is None
    commit(toy.folder)
    toy.write({"params.yaml": "size: 5\nnew: {key: x}\n"})
    assert run_engine().error is None


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder."""
    return copied_toy(make_foreign, tmp_path / "toy", monkeypatch)


def test_compare(foreign: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare` shows the parameters, metrics and outputs that differ, as tables and as JSON."""
    assert inkflow(["compare", "HEAD", "--json"]) == 0
    differences = json.loads(capsys.readouterr().out)
    assert {(row["name"], row["old"], row["new"]) for row in differences["parameters"]} >= {("size", 1, 5)}
    assert differences["metrics"] == [{"file": "score.json", "name": "n", "old": 1, "new": 5}]
    assert {"path": "out", "change": "modified"} in differences["outputs"]
    assert inkflow(["compare", "HEAD"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["size", "1", "5"] in lines and ["n", "1", "5"] in lines and ["out", "modified"] in lines
    commit(foreign.folder)
    assert inkflow(["compare", "HEAD~1", "HEAD", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == differences
    subprocess.run(["git", "tag", "same"], check=True)
    assert inkflow(["compare", "same", "HEAD"]) == 0
    assert capsys.readouterr().out == "No parameter, metric or output differs between same and HEAD.\n"


@pytest.mark.parametrize("arguments", [["compare", "nowhere"], ["compare", "HEAD", "nowhere"]])
def test_unknown_version(foreign: Toy, arguments: list[str]) -> None:
    """An unknown version is an error of one sentence."""
    with pytest.raises(RevisionUnusable, match=r"no such version .*nowhere"):
        inkflow(arguments)


def test_no_versions(toy: Toy) -> None:
    """Without a commit, and without git, there are no versions to compare."""
    with pytest.raises(RevisionUnusable, match="there is no commit yet"):
        inkflow(["compare", "HEAD"])
    (toy.folder / ".git").rename(toy.folder / "elsewhere")
    with pytest.raises(RevisionUnusable, match="is in no git repository"):
        inkflow(["compare", "HEAD"])


@pytest.mark.parametrize(
    "command", ["models", "rollback prod", "trace abcdef12", "predict a@prod x.png", "serve a@prod", "prune --dry-run"]
)
def test_verbs_that_need_git(toy: Toy, command: str) -> None:
    """Verbs that read tags or branches say that there is no git repository, and what to do; the exit code is 2."""
    (toy.folder / ".git").rename(toy.folder / "elsewhere")
    toy.write({"dvc.yaml": "stages: {}\n", ".dvc/config.local": "[core]\n    no_scm = true\n"})
    with pytest.raises(RevisionUnusable, match=r"is in no git repository, .*; `git init`, then commit$") as caught:
        inkflow(command.split())
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("verb", ["check", "report"])
def test_verbs_of_our_own_models(foreign: Toy, verb: str) -> None:
    """Verbs about our own models name the reason for which they cannot work here, and verbs that can."""
    with pytest.raises(InvalidInput, match=rf"^`inkflow {verb}` reads the models of Inkflow's own pipeline"):
        inkflow([verb])


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml", "params.yaml"])
@pytest.mark.parametrize("command", ["plan", "run", "compare HEAD", "verify", "sweep --grid size=1"])
def test_merge_conflict(foreign: Toy, name: str, command: str) -> None:
    """A merge conflict in a file that defines a run is called that, with the file and what to do."""
    foreign.write({name: foreign.read(name) + CONFLICT})
    before = foreign.read(name)
    with pytest.raises(InvalidInput, match=rf"^{name} has a merge conflict, .* `git checkout --ours {name}`"):
        inkflow(command.split())
    assert foreign.read(name) == before


def test_merge_conflict_in_ci(foreign: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The lane `check` names a merge conflict."""
    foreign.write({"dvc.lock": CONFLICT})
    assert inkflow(["ci", "check", "--no-remote", "--out", str(Path(".inkflow/ci"))]) == 1
    assert "failed  lock     dvc.lock has a merge conflict" in capsys.readouterr().out
