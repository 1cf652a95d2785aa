"""Where the trials of a search run: in clones, which have files of their own, and in work pools."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

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


@pytest.mark.farm
def test_pools(project: SearchProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A trial that needs a server or a remote and has none ends the search, and stays open; a stage of a work pool that
    is up to date in all trials needs neither.
    """
    first = "stages:\n  first:\n    cmd: echo 1 > one\n    deps: [fit.py]\n    outs: [one]\n"
    graph = project.read("dvc.yaml").replace("stages:\n", first)
    graph = graph.replace("deps: [fit.py]\n    params", "deps: [fit.py, one]\n    params")
    project.write({"dvc.yaml": graph, "execution.yaml": "stages: {first: {pool: gpu}}\n"})
    project.commit()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    space = ["--space", "space.yaml:x=1..9:int", "--jobs", "1", "--trials", "1", "--study", "s"]
    search = project.search(*space)
    assert isinstance(search.failure, MachineFailed) and "first" in str(search.failure)
    assert [trial.state for trial in search.study.trials()] == [TrialState.RUNNING]
    project.dvc("repro", "--quiet")
    project.commit()
    search = project.search(*space)
    assert search.failure is None and [trial.state for trial in search.trials] == ["ran"]
