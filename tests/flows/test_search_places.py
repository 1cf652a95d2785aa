"""Where the trials of a search run: in clones, which have files of their own, and in work pools."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from flows.core.errors import NoRemote, PoolUnusable
from flows.experiments.grid import check_combinations, parse_combinations
from flows.experiments.settings import apply_to_files
from flows.experiments.trial_errors import MachineFailed
from stages.base.errors import InvalidInput
from tests.flows.test_search import SearchProject, project

__all__ = ["project"]  # fixture


def test_files_of_trials_are_those_of_their_clones(project: SearchProject, tmp_path: Path) -> None:
    """A file that is named by an absolute path is refused: each trial would write it for all of them."""
    key, before = f"{project.folder}/space.yaml:x", project.read("space.yaml")
    message = "name it from the project's folder: space.yaml"
    with pytest.raises(InvalidInput, match=message):
        project.prepare("--space", f"{key}=1..9:int")
    with pytest.raises(InvalidInput, match=message):
        check_combinations(parse_combinations([f"{key}=1,2"], [], None), Path())
    with pytest.raises(InvalidInput, match="is outside of the project"):
        apply_to_files({key: 5}, tmp_path / "runs")
    assert project.read("space.yaml") == before


def test_pools(project: SearchProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A search in a work pool needs a server and a remote at its start; a trial that lacks one later stays open."""
    project.write({"execution.yaml": "stages: {fit: {pool: gpu}}\n"})
    project.commit()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    space = ["--space", "space.yaml:x=1..9:int", "--jobs", "1"]
    with pytest.raises(PoolUnusable, match="fit runs in the work pool gpu, and no Prefect server is named"):
        project.prepare(*space)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(NoRemote):
        project.prepare(*space)
    search, runner = project.prepare(*space, "--local")  # which is not said to the runner
    runner.run()
    assert isinstance(search.failure, MachineFailed) and "no DVC remote is configured" in str(search.failure)
    assert [trial.state for trial in search.study.trials()] == [TrialState.RUNNING]
    search.study.close()
