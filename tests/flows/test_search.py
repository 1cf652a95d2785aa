"""`inkflow sweep --search`: proposed trials as DVC experiments, of any project; pruned, killed, continued."""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.sweeps.arguments import sweep as add_arguments
from flows.cli.sweeps.search import make_search
from flows.core.errors import Pruned
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import SilentDisplay
from flows.engine.policy import load_policies
from flows.experiments.search.search_trials import SearchTrials
from flows.experiments.sweep_runner import SweepRunner
from flows.tasks.failure_state import failure_state
from stages.base.errors import InvalidInput
from tests.conftest import Inkflow, Toy, wait_until
from tests.flows.test_pipeline import finished_run
from tests.support.commands import dvc, run_python
from tests.support.root import ROOT

RUNS = "INKFLOW_TEST_RUNS"  # folder with the scores of trials that ended, and with a line for each start

# The score is (x - 3)². A trial that is not the best one waits after its first epoch to be pruned, if `wait` is set.
FIT = """
import json, os, sys, time
from pathlib import Path
import yaml
x, wait = (yaml.safe_load(Path(name).read_text())[key] for name, key in (("space.yaml", "x"), ("params.yaml", "wait")))
runs, score = Path(os.environ["INKFLOW_TEST_RUNS"]), (x - 3) ** 2
with (runs / "starts").open("a") as file:
    print(x, file=file)
if x == 13:
    sys.exit("error: unlucky")
print("epoch 1 of 2", flush=True)
Path("history.csv").write_text(f"epoch,val_loss\\n1,{score}\\n")
scores = [float(path.read_text()) for path in runs.glob("*.score")]
while wait == "all" or (wait == "worse" and min(scores, default=score) < score):
    time.sleep(0.05)
Path("history.csv").write_text(f"epoch,val_loss\\n1,{score}\\n2,{score}\\n")
Path("m.json").write_text(json.dumps({"val_loss": score, "test_loss": 0}))
(runs / f"{x}.score").write_text(str(score))
"""
GRAPH = """
stages:
  fit:
    cmd: python fit.py
    deps: [fit.py]
    params: [wait, space.yaml: [x]]
    metrics: [m.json: {cache: false}]
    plots: [history.csv]
  later:
    cmd: cp m.json later.json
    deps: [m.json]
    outs: [later.json]
"""
SEARCH = ["--search", "random", "--objective", "m.json:val_loss"]


class SearchProject(Toy):
    """A committed project whose one parameter is in a file of its own."""

    def __init__(self, folder: Path, runs: Path) -> None:
        super().__init__(folder)
        self.runs_folder = runs
        self.write({"dvc.yaml": GRAPH, "params.yaml": "wait: none\n", "space.yaml": "x: 100 # of the fit\n"})
        self.write({"fit.py": FIT, ".gitignore": "/history.csv\n/later.json\n/ignored.yaml\n"})
        self.write({"ignored.yaml": "x: 1.5\n"})
        self.commit()

    def commit(self) -> None:
        """Commits all files."""
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "state")

    def dvc(self, *arguments: str) -> None:
        """Runs DVC."""
        dvc(*arguments, folder=self.folder)

    def git(self, *arguments: str) -> str:
        """Runs git and returns its output."""
        command = ["git", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def starts(self) -> list[str]:
        """Returns the parameter of each training that started."""
        path = self.runs_folder / "starts"
        return path.read_text().split() if path.exists() else []

    def experiments(self) -> list[str]:
        """Returns the names of the project's experiments."""
        refs = self.git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
        return sorted(ref.rpartition("/")[2] for ref in refs if ref.count("/") == 4)

    def search(self, *arguments: str) -> SearchTrials:
        """Runs a search without Prefect and returns its trials."""
        search, runner = self.prepare(*arguments)
        runner.run()
        search.study.close()
        if runner.crash is not None:
            raise runner.crash
        return search

    def prepare(self, *arguments: str) -> tuple[SearchTrials, SweepRunner]:
        """Returns the trials of a search and their runner."""
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        parsed = parser.parse_args([*SEARCH, *arguments])
        with Repository() as repository:
            search, clones = make_search(parsed, repository, load_policies(Path()))
        runner = SweepRunner(Path(), search, parsed.stages, parsed.jobs, SilentDisplay(), clones=clones)
        return search, runner


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SearchProject]:
    """The project, which is the current folder."""
    folder, runs = tmp_path / "project", tmp_path / "runs"
    folder.mkdir()
    runs.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(RUNS, str(runs))
    yield SearchProject(folder, runs)


@pytest.mark.farm
def test_trials_are_experiments(project: SearchProject) -> None:
    """Each trial is an experiment, a second search costs nothing, a longer one adds trials; the report has all of them,
    and the workspace does not change.
    """
    project.dvc("repro", "--quiet")
    project.commit()
    (project.runs_folder / "starts").unlink()
    before = project.git("status", "--porcelain")
    space = ["--space", "space.yaml:x=1..9:int", "--jobs", "2"]
    search = project.search(*space, "--trials", "4")
    assert len(search.trials) == 4 and {trial.state for trial in search.trials} <= {"ran", "restored"}
    first = {trial.experiment for trial in search.trials}
    assert all(str(name).startswith("x=") for name in first)
    assert sorted(first) == project.experiments() and len(first) == len(project.starts())
    assert project.search(*space, "--trials", "4").trials == []
    longer = project.search(*space, "--trials", "12")
    assert len(project.starts()) == len(set(project.starts())) == len(project.experiments())
    best = longer.study.best()
    assert best is not None and best.value == min((int(x) - 3) ** 2 for x in project.starts())
    folder = longer.report()
    assert folder is not None
    with (folder / "trials.csv").open(newline="") as file:
        assert [int(row["trial"]) for row in csv.DictReader(file)] == list(range(len(longer.study.trials())))
    assert {path.name for path in folder.glob("*.png")} == {"1-history.png", "2-parallel.png"}
    assert longer.best_line().splitlines()[1] == f"dvc exp apply {best.user_attrs['experiment']}"
    assert project.git("status", "--porcelain") == before
    project.dvc("exp", "apply", best.user_attrs["experiment"])
    text = project.read("space.yaml")
    assert text.split() == ["x:", str(longer.study.settings(best)["space.yaml:x"]), "#", "of", "the", "fit"]


@pytest.mark.farm
def test_pruned_trials(project: SearchProject) -> None:
    """A trial whose live history is worse is ended early: its state is no failure, and it is no experiment."""
    project.write({"params.yaml": "wait: worse\n"})
    search = project.search("--space", "space.yaml:x=1..1000:int", "--trials", "5", "--prune", "asha", "--jobs", "1")
    states = [trial.state for trial in search.trials]
    scores = [(int(x) - 3) ** 2 for x in project.starts()]
    assert states == ["ran" if score == min(scores[: number + 1]) else "pruned" for number, score in enumerate(scores)]
    assert "pruned" in states and len(project.experiments()) == states.count("ran")
    pruned = next(trial for trial in search.trials if trial.state == "pruned")
    assert not pruned.is_failure and "pruned after step 1: val_loss" in str(pruned.error)


@pytest.mark.farm
def test_failed_trials(project: SearchProject) -> None:
    """A trial that fails is told apart, and the others run."""
    search = project.search("--space", "space.yaml:x=12..13:int", "--trials", "9", "--jobs", "1")
    states = {(trial.combination.settings["space.yaml:x"], trial.state) for trial in search.trials}
    assert states == {(12, "ran"), (12, "restored"), (13, "failed")}
    assert "unlucky" in str(next(trial.error for trial in search.trials if trial.is_failure))


@pytest.mark.farm
def test_missing_objective_ends_the_search(project: SearchProject) -> None:
    """A score that the first trial does not write ends the search with its name and those that exist."""
    search = project.search("--space", "space.yaml:x=1..9:int", "--objective", "m.json:val_los", "--direction",
                            "minimize", "--jobs", "1")  # fmt: skip
    assert "did you mean 'val_loss'?" in str(search.failure)
    assert len(project.starts()) == 1


def test_timeout(project: SearchProject) -> None:
    """After the time no trial starts, and those that ran count."""
    search, runner = project.prepare("--space", "space.yaml:x=1..900:int", "--timeout", "1h", "--jobs", "1")
    search._timeout_s = -1.0
    runner.run()
    assert search.trials == [] and project.starts() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a search needs a --space"),
        (["--space", "wat=a|b"], "did you mean 'wait'?"),
        (["--space", "space.yaml:y=1..2"], "space.yaml: there is no key 'y'"),
        (["--space", "space.yaml:x=1..2"], "add :int"),
        (["--space", "ignored.yaml:x=1..2"], "git does not track ignored.yaml, so that trials"),
        (["--space", "../runs/space.yaml:x=1..2"], "../runs/space.yaml is outside of the project"),
        (["--space", "wait=a|b", "--search", "cmaes"], "needs two ranges"),
        (["--space", "wait=a|b", "--objective", "m.json:test_loss"], "a test score chooses nothing"),
        (["--space", "wait=a|b", "--objective", "later.json:val_loss", "--prune", "asha"], "--history FILE:COLUMN"),
    ],
)
def test_mistakes(project: SearchProject, arguments: list[str], message: str) -> None:
    """A mistake in the arguments is one sentence before any trial; nothing is written."""
    with pytest.raises(InvalidInput) as raised:
        project.prepare(*arguments)
    assert message in str(raised.value)
    assert project.starts() == [] and not (project.folder / ".inkflow").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "5"], "error: --trials is for a search; add --search"),
        (["--search", "tpe", "--grid", "wait=a"], "error: --grid lists combinations, and --search proposes them"),
        (["--search", "tpe", "--space", "wait=a|b"], "error: a search needs an --objective"),
    ],
)
def test_options_of_the_command(project: SearchProject, arguments: list[str], message: str) -> None:
    """Options that do not belong together cause one sentence and exit code 2."""
    done = run_python("-m", "flows", "sweep", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_state_of_pruned_trials() -> None:
    """In Prefect a pruned trial is neither failed nor merely cancelled: its state has a name of its own."""
    state = failure_state(Pruned("12: x=1", "after step 1: val_loss 0.5"))
    assert (state.name, state.is_failed(), state.message) == (
        "Pruned", False, "12: x=1: pruned after step 1: val_loss 0.5",
    )  # fmt: skip


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_killed_search_continues(
    project: SearchProject, inkflow: Inkflow, prefect_url: str, tmp_path: Path, end: signal.Signals
) -> None:
    """A search that was killed or interrupted goes on with the trials that ran: none is lost or there twice."""
    command = ["sweep", *SEARCH, "--space", "space.yaml:x=1..900:int", "--trials", "4", "--jobs", "2", "--study", "s"]
    project.write({"params.yaml": "wait: all\n"})
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "flows", *command], env=environment, stdout=subprocess.PIPE) as first:
        wait_until(lambda: len(project.starts()) == 2, timeout_s=120)
        first.send_signal(end)
        first.communicate(timeout=240)
    assert first.returncode == (130 if end == signal.SIGINT else -end)
    interrupted = project.starts()
    project.write({"params.yaml": "wait: none\n"})
    done = inkflow(*command, "--json", folder=project.folder)
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert [trial["trial"] for trial in trials] == [0, 1, 2, 3]
    assert {trial["state"] for trial in trials} == {"complete"}
    assert sorted(interrupted) == sorted(str(trial["space.yaml:x"]) for trial in trials[:2])
    assert project.experiments() == sorted({trial["experiment"] for trial in trials})
    assert finished_run(prefect_url, 4).flow_run["state_name"] == "Completed"
