"""Where `inkflow sweep` works: in shallow clones, and not in projects whose DVC does not use git."""

import subprocess
from pathlib import Path

import pytest

from flows.cli.main import main
from flows.core.git import git_text, head_commit
from stages.base.errors import InvalidInput
from tests.flows.core.test_git import PERSON
from tests.flows.test_sweep import run_sweep, sweep_project
from tests.support.commands import dvc
from tests.support.sweep_project import SweepProject

__all__ = ["sweep_project"]  # fixture


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["dvc", "config", "core.no_scm", "true"], "DVC does not use git in "),
        (["git", "rm", "-r", "--quiet", "--cached", ".dvc"], "git tracks no file of "),
    ],
)
def test_no_experiments_without_git(sweep_project: SweepProject, command: list[str], message: str) -> None:
    """Where DVC can make no experiment, one sentence says why and what to do before a stage runs."""
    dvc(*command[1:]) if command[0] == "dvc" else subprocess.run(command, check=True)
    with pytest.raises(InvalidInput) as raised:
        main(["sweep", "--grid", "scale.by=2"])
    assert str(raised.value).startswith(message) and "then commit" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sweep_project.ran("source") == 0


@pytest.mark.farm
def test_shallow_clone(sweep_project: SweepProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of which git has the last commit alone is swept with its uncommitted changes."""
    sweep_project.git(*PERSON, "commit", "--quiet", "--allow-empty", "--message", "later")
    shallow = tmp_path / "shallow"
    sweep_project.git("clone", "--quiet", "--depth", "1", f"file://{sweep_project.folder}", str(shallow))
    monkeypatch.chdir(shallow)
    (shallow / "in").write_text("edited\n")
    [trial] = run_sweep(shallow, "score.plus=1", targets=["score"])
    assert (trial.state, str(trial.error or "")) == ("ran", "")
    head = head_commit(shallow)
    assert git_text(["show", f"refs/exps/{head[:2]}/{head[2:]}/{trial.experiment}:in"], shallow) == "edited"
