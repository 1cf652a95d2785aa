"""Where `inkflow sweep` works: in shallow clones, and not in projects whose DVC does not use git."""

import subprocess
from pathlib import Path

import pytest

from flows.core.git import git_text, head_commit
from tests.flows.core.test_git import PERSON
from tests.flows.test_sweep import run_sweep, sweep_project
from tests.support.commands import run_python
from tests.support.sweep_project import SweepProject

__all__ = ["sweep_project"]  # fixture


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["dvc", "config", "core.no_scm", "true"], "error: DVC does not use git in "),
        (["git", "rm", "-r", "--quiet", "--cached", ".dvc"], "error: git tracks no file of "),
    ],
)
def test_no_experiments_without_git(sweep_project: SweepProject, command: list[str], message: str) -> None:
    """Where DVC can make no experiment, one sentence says why and what to do before a stage runs."""
    subprocess.run(command, check=True)
    done = run_python("-m", "flows", "sweep", "--grid", "scale.by=2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message) and "then commit" in done.stderr
    assert len(done.stderr.splitlines()) == 1
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
