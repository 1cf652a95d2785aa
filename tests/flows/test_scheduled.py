"""Deployed runs: settings hold for one run, which works in a clone and is recorded as a DVC experiment."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.engine.run_record import read_records
from tests.conftest import DIAMOND, Toy
from tests.flows.dvc_repo.test_remotes import commit
from tests.support.commands import dvc, run_python

pytestmark = pytest.mark.server

PROGRAM = """
import json, sys
from inkflow.flows.scheduled import scheduled
state = scheduled(**json.loads(sys.argv[1]), return_state=True)
print(json.dumps([state.name, state.message]))
"""


class Deployed:
    """A committed project as a deployment runs it."""

    def __init__(self, toy: Toy, url: str, home: Path) -> None:
        self.toy = toy
        self._environment = os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(home)}

    def run(self, **parameters: Any) -> list[str]:
        """Runs the flow in a process and returns the name and the message of its final state."""
        command = ["-c", PROGRAM, json.dumps(parameters)]
        done = run_python(*command, folder=self.toy.folder, environment=self._environment)
        assert done.returncode == 0, done.stderr
        state: list[str] = json.loads(done.stdout.splitlines()[-1])
        return state

    def git(self, *arguments: str) -> str:
        """Returns the output of a git command."""
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def experiments(self) -> dict[str, str]:
        """Returns params.yaml of each experiment, by its name."""
        references = self.git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
        return {name.rpartition("/")[2]: self.git("show", f"{name}:params.yaml") for name in references}

    def files(self) -> dict[str, bytes]:
        """Returns the content of the files in the workspace, without those of git, DVC and Inkflow."""
        inner = {".git", ".dvc", ".inkflow"}
        paths = [path for path in self.toy.folder.rglob("*") if path.is_file()]
        relative = {str(path.relative_to(self.toy.folder)): path for path in paths}
        return {name: path.read_bytes() for name, path in relative.items() if Path(name).parts[0] not in inner}


@pytest.fixture
def deployed(diamond: Toy, prefect_url: str, tmp_path: Path) -> Deployed:
    """A committed project with the graph source → side@left, side@right → join; `source` writes its parameter."""
    graph = DIAMOND.replace("cp in out", "test ${knobs.speed} != 13 && cat in params.yaml > out")
    diamond.write({"dvc.yaml": graph, "params.yaml": "knobs:\n  speed: 1 # as committed\n"})
    diamond.write({".gitignore": "/.inkflow\n/*.runs\n/out\n/left\n/right\n/joined\n"})
    commit(diamond.folder)
    return Deployed(diamond, prefect_url, tmp_path / "home")


@pytest.mark.farm
def test_settings_hold_for_one_run(deployed: Deployed) -> None:
    """A run with settings leaves the workspace as it is, and says where its result is; the next run has none of it."""
    before, head = deployed.files(), deployed.git("rev-parse", "HEAD")
    name, message = deployed.run(settings={"knobs.speed": 400})
    assert (name, message) == (
        "Completed",
        f"4 of 4 stages ran; the result is the DVC experiment speed=400 in {deployed.toy.folder}, "
        "`dvc exp apply speed=400` copies it into the workspace",
    )
    assert (deployed.files(), deployed.git("status", "--porcelain")) == (before, "")
    assert deployed.git("rev-parse", "HEAD") == head
    assert deployed.experiments() == {"speed=400": "knobs:\n  speed: 400 # as committed"}
    assert deployed.run(settings={"knobs.speed": 1}) == ["Completed", "4 of 4 stages ran"]  # as it is
    assert "speed: 1 " in deployed.toy.read("joined")
    dvc("exp", "apply", "-q", "speed=400")
    assert "speed: 400 " in deployed.toy.read("joined")


@pytest.mark.farm
def test_a_failed_run_leaves_nothing(deployed: Deployed) -> None:
    """A run with settings that fails leaves the parameters, and no experiment and no clone."""
    before = deployed.files()
    name, message = deployed.run(settings={"knobs.speed": 13}, targets=["source"])
    assert (name, message.partition(":")[0]) == ("Failed", "source failed (exit code 1)")
    name, message = deployed.run(settings={"knobs.sped": {"a": 1}, "nobs.x": 1})
    assert (name, "did you mean 'knobs.speed'?" in message) == ("Failed", True)
    assert (deployed.files(), deployed.experiments()) == (before, {})
    assert not list((deployed.toy.folder / ".dvc/tmp/inkflow").glob("run*"))
    assert [record["state"] for record in read_records(deployed.toy.folder)] == ["failed"]  # for `report --runs`


@pytest.mark.farm
def test_a_later_run_goes_on_with_what_a_failed_one_left(deployed: Deployed) -> None:
    """A stage of a run with settings finds the checkpoint of an earlier run, whose clone was removed."""
    kept = ".inkflow/checkpoints/half"
    graph = DIAMOND.replace("cp in out", f"if test -e {kept}; then cp in out; else touch {kept}; exit 3; fi")
    deployed.toy.write({"dvc.yaml": graph})
    commit(deployed.toy.folder)
    assert deployed.run(settings={"knobs.speed": 7}, targets=["source"])[0] == "Failed"
    assert deployed.run(settings={"knobs.speed": 7}, targets=["source"])[0] == "Completed"
    assert not (deployed.toy.folder / kept).exists()  # the project's own runs have other files


@pytest.mark.farm
def test_no_experiments_without_git(deployed: Deployed) -> None:
    """If DVC does not use git, a run with settings fails with one sentence before a stage runs."""
    dvc("config", "core.no_scm", "true")
    name, message = deployed.run(settings={"knobs.speed": 2})
    assert (name, message.partition(" in ")[0]) == ("Failed", "DVC does not use git")
    assert read_records(deployed.toy.folder) == []
