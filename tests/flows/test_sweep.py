"""`inkflow sweep`: runs combinations in parallel, records each as a DVC experiment, leaves the workspace unchanged."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.cli.main import main
from flows.core.file_lock import run_lock
from flows.core.git import git_text, head_commit, run_git
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.engine.display.plain import SilentDisplay
from flows.engine.run_record import read_records
from flows.experiments.grid import parameter_keys, parse_combinations
from flows.experiments.sweep_runner import SweepRunner
from flows.experiments.trials import GridTrials, Trial
from stages.base.errors import InvalidInput
from tests.conftest import Inkflow, Toy, wait_until
from tests.flows.core.test_git import PERSON, make_repository
from tests.flows.engine.test_interruption import cancel_running_flow
from tests.flows.test_pipeline import finished_run
from tests.support.root import ROOT
from tests.support.sweep_project import PARAMS, RUNS, SweepProject


@pytest.fixture
def sweep_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SweepProject]:
    """The project, which is the current folder."""
    folder, counts = tmp_path / "project", tmp_path / "counts"
    folder.mkdir()
    counts.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(RUNS, str(counts))
    yield SweepProject(folder, counts)


@pytest.mark.server
@pytest.mark.cases(1)
@pytest.mark.parametrize("factors", [[3], [2, 3]])
def test_grid_as_experiments(
    sweep_project: SweepProject, inkflow: Inkflow, prefect_url: str, factors: list[int]
) -> None:
    """Each cell is an experiment with its metrics and a task with its output; shared stages run once; the workspace
    does not change.
    """
    sweep_project.write({"in": "edited\n", "notes.txt": "untracked\n"})
    before, status = sweep_project.contents(), sweep_project.git("status", "--porcelain")
    by, count = ",".join(map(str, factors)), 2 * len(factors)
    done = inkflow(
        "sweep", "--grid", f"scale.by={by}", "--grid", "score.plus=10,20", "--jobs", "4", folder=sweep_project.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [sweep_project.ran(name) for name in ("source", "scale", "score")] == [1, len(factors), count]
    assert (sweep_project.contents(), sweep_project.git("status", "--porcelain")) == (before, status)
    assert sweep_project.remaining_clones() == []
    experiments = sweep_project.experiments()
    assert {name: row["score"] for name, row in experiments.items()} == {
        f"by={by},plus={plus}": str(by + plus) for by in factors for plus in (10, 20)
    }
    header, *rows = done.stdout[done.stdout.index("#  by  plus") :].splitlines()[: count + 1]
    assert header.split() == ["#", "by", "plus", "score", "seconds"]
    assert [str(count), "3", "20"] in [row.split()[:3] for row in rows]
    assert re.search(rf"^ +{count} \| \w+ *\| > ", done.stdout, re.MULTILINE)  # lines begin with the trial's number
    run = finished_run(prefect_url, count)
    wait_until(lambda: any("sh score.sh 20" in line for line in run.log("scale.by=3 score.plus=20")), timeout_s=60)


@pytest.mark.server
@pytest.mark.farm
def test_second_sweep_restores(sweep_project: SweepProject, inkflow: Inkflow) -> None:
    """Combinations of an earlier sweep are restored and run no command; new ones beside them run."""
    inkflow("sweep", "--grid", "scale.by=2,3", folder=sweep_project.folder)
    again = inkflow("sweep", "--grid", "scale.by=2,3,4", "--json", folder=sweep_project.folder)
    assert again.returncode == 0, again.stderr
    assert (sweep_project.ran("source"), sweep_project.ran("scale"), sweep_project.ran("score")) == (1, 3, 3)
    trials = json.loads(again.stdout)["trials"]
    assert [trial["state"] for trial in trials] == ["restored", "restored", "ran"]
    assert trials[2]["metrics"] == {"score.json": {"score": 4}}
    assert trials[2]["combination"] == {"scale.by": 4}


@pytest.mark.server
@pytest.mark.farm
def test_apply(sweep_project: SweepProject, inkflow: Inkflow) -> None:
    """`dvc exp apply` restores parameters with comments, dvc.lock and outputs; then `inkflow run` has nothing to do."""
    inkflow("sweep", "--list", "scale.by=5 score.plus=7", folder=sweep_project.folder)
    sweep_project.dvc("exp", "apply", "by=5,plus=7")
    assert sweep_project.read("params.yaml") == PARAMS.replace("by: 1", "by: 5").replace("plus: 0", "plus: 7")
    assert json.loads(sweep_project.read("score.json")) == {"score": 12}
    assert sweep_project.read("scaled") == "5\n"
    assert "Nothing to do" in inkflow("run", folder=sweep_project.folder).stdout


@pytest.mark.farm
@pytest.mark.server
def test_failure_does_not_stop_others(sweep_project: SweepProject, inkflow: Inkflow) -> None:
    """A failed combination is reported with its error and is no experiment; the others run."""
    done = inkflow("sweep", "--grid", "score.plus=13,14", "--jobs", "1", folder=sweep_project.folder)
    assert done.returncode == 1
    assert "failed: score.plus=13: score failed (exit code 1): unlucky" in done.stdout
    assert set(sweep_project.experiments()) == {"plus=14"}
    named = [(record["trial"], record["experiment"]) for record in read_records(sweep_project.folder)]
    assert named == [("plus=13", ""), ("plus=14", "plus=14")]
    assert "Traceback" not in done.stdout + done.stderr
    assert sweep_project.remaining_clones() == []


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.parametrize("by", ["Ctrl-C", "Prefect"])
def test_interrupt(sweep_project: SweepProject, prefect_url: str, tmp_path: Path, by: str) -> None:
    """Ctrl-C and a cancellation in Prefect end running trials, remove the clones, and leave the workspace unchanged."""
    before, status = sweep_project.contents(), sweep_project.git("status", "--porcelain")
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    pauses = [f"300.{os.getpid()}{number}" for number in (1, 2)]  # no other process on this machine waits as long
    command = [sys.executable, "-m", "flows", "sweep", "--grid", f"pause={','.join(pauses)}", "--jobs", "2"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweep:
        wait_until(lambda: sweep_project.ran("scale") == 2, timeout_s=60)
        cancel_running_flow(prefect_url, "sweep") if by == "Prefect" else sweep.send_signal(signal.SIGINT)
        out, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 130, out
    assert (sweep_project.contents(), sweep_project.git("status", "--porcelain")) == (before, status)
    assert sweep_project.remaining_clones() == []
    assert sweep_project.experiments() == {}
    assert subprocess.run(["pgrep", "-f", f"sleep 300.{os.getpid()}"], check=False).returncode == 1


def test_clone_is_a_snapshot(sweep_project: SweepProject) -> None:
    """A clone has the uncommitted changes of the moment when the sweep started, and no later ones."""
    sweep_project.write({"score.sh": "edited"})
    clones = ProjectClones(sweep_project.folder)
    sweep_project.write({"score.sh": "edited once more"})
    with clones.clone("trial-0") as clone:
        assert (clone / "score.sh").read_text() == "edited"
        assert (clone / "in").read_text() == "one\n"
    assert sweep_project.read("score.sh") == "edited once more"


def test_a_clone_that_was_removed_in_part(sweep_project: SweepProject) -> None:
    """What a killed removal left of a clone, without its repository, is removed; the run lock of the clones stays."""
    clones = ProjectClones(sweep_project.folder)
    for name in ("trial-0", "verify/data", "code"):  # the last one is the store of earlier code
        (clones.folder / name).mkdir(parents=True)
        (clones.folder / name / "in").touch()
    with clones.clone("trial-0") as clone:
        assert (clone / "in").read_text() == "one\n"
    with run_lock(clones.folder, print):
        (clones.folder / "trial-0").mkdir()
        clones.remove_leftovers()
        assert {path.name for path in clones.folder.iterdir()} == {".inkflow", "code"}


def run_sweep(root: Path, *grid: str, targets: Sequence[str] = ()) -> list[Trial]:
    """Runs a sweep without Prefect and returns its trials."""
    source = GridTrials(parse_combinations(grid, [], None), parameter_keys(root))
    runner = SweepRunner(root, source, targets, 2, SilentDisplay())
    runner.start()
    for _ in runner.events():
        pass
    runner.close()
    return runner.trials


@pytest.mark.farm
def test_project_below_the_top_of_its_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project in a folder of a repository, with a submodule and letters beyond ASCII in its path, is swept like any
    other; its index keeps its bytes and its experiments keep the submodule.
    """
    top, project = tmp_path / "mönö 日本 a b", tmp_path / "mönö 日本 a b" / "proj"
    library = make_repository(tmp_path / "library", "begin")
    (library / "k.txt").write_text("7\n")
    run_git(["add", "--all"], library)
    run_git([*PERSON, "commit", "--quiet", "--message", "k"], library)
    make_repository(top, "begin")
    project.mkdir()
    monkeypatch.chdir(project)
    Repo.init(subdir=True).close()
    command = "cat lib/k.txt params.yaml > a.txt"
    (project / "params.yaml").write_text("lr: 1\n")
    (project / "dvc.yaml").write_text(f"stages: {{a: {{cmd: '{command}', params: [lr], deps: [lib], outs: [a.txt]}}}}")
    run_git(["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib"], project)
    run_git(["add", "--all"], project)
    run_git([*PERSON, "commit", "--quiet", "--message", "project"], project)
    os.utime(project / "params.yaml", (2e9, 2e9))
    index = (top / ".git/index").read_bytes()
    trials = run_sweep(project, "lr=2,3")
    assert [(trial.state, str(trial.error or "")) for trial in trials] == [("ran", "")] * 2
    assert (top / ".git/index").read_bytes() == index
    head = head_commit(project)
    experiment = f"refs/exps/{head[:2]}/{head[2:]}/lr=3"
    assert git_text(["show", f"{experiment}:proj/params.yaml"], project) == "lr: 3"
    assert git_text(["ls-tree", experiment, "lib"], project) == git_text(["ls-tree", "HEAD", "lib"], project) != ""
    assert f"size: {len('7') + len('lr: 3') + 2}" in git_text(["show", f"{experiment}:proj/dvc.lock"], project)


FOLDERS = """
stages:
  report:
    cmd: mkdir report; echo ${scale} > report/${scale}.txt
    params: [scale]
    outs: [{report: {cache: false}}]
  fit:
    cmd: 'mkdir results; echo "{\\"loss\\": ${scale}}" > results/metrics.json'
    params: [scale]
    outs: [results]
metrics: [results/metrics.json]
"""


@pytest.mark.farm
def test_folders_as_outputs(toy: Toy) -> None:
    """An experiment has the files of a folder that DVC does not cache, without those of the commit; metrics files in a
    folder are metrics of the trial.
    """
    toy.write({"dvc.yaml": FOLDERS, "params.yaml": "scale: 1\n", "report/1.txt": "1\n", ".gitignore": "/results\n"})
    for command in (["add", "--all"], [*PERSON, "commit", "--quiet", "--message", "begin"]):
        run_git(command, toy.folder)
    [trial] = run_sweep(toy.folder, "scale=2")
    assert (trial.state, str(trial.error or "")) == ("ran", "")
    assert trial.metrics == {"results/metrics.json": {"loss": 2}}
    head = head_commit(toy.folder)
    experiment = f"refs/exps/{head[:2]}/{head[2:]}/{trial.experiment}"
    assert git_text(["ls-tree", "-r", "--name-only", experiment, "report/"], toy.folder) == "report/2.txt"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to sweep over; name values, for example --grid models.cnn.batch_size=32,128"),
        (["--grid", "scale.by"], "--grid scale.by: expected KEY=V1,V2"),
        (["--grid", "scale.by=[1"], "--grid scale.by: '[1' are not YAML values"),
        (
            ["--grid", "scal.by=1,2"],
            "scal.by=1: params.yaml: there is no key 'scal.by'; did you mean 'scale.by'? known: pause, scale",
        ),
        (["--list", "scale.by"], "combination 'scale.by': scale.by: expected KEY=VALUE"),
        (["--grid", "scale.by=1", "--grid", "scale.by=2"], "--grid: a key is given twice"),
        (["--grid", "scale.by=1", "--list", "scale.by=2"], "scale.by is both in --grid and in --list"),
        (["--from", "nowhere.txt"], "--from"),
        (["scor", "--grid", "scale.by=1"], "unknown stage 'scor'; did you mean 'score'?"),
    ],
)
def test_invalid_arguments(
    sweep_project: SweepProject, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid argument causes one sentence and exit code 2 before a stage runs."""
    with pytest.raises(InvalidInput) as raised:
        main(["sweep", *arguments])
    assert raised.value.exit_code == 2 and capsys.readouterr().out == ""
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)
    assert sweep_project.ran("source") == 0


def test_no_commit_yet(toy: Toy) -> None:
    """A project without a commit causes an error: DVC stores experiments on a commit."""
    with pytest.raises(InvalidInput, match="there is none yet; commit first"):
        ProjectClones(toy.folder)


@pytest.mark.farm
def test_experiments_of_other_parameters_stay(sweep_project: SweepProject) -> None:
    """An experiment is replaced by one with the same parameters alone: equal names of other ones get a digest."""
    first = run_sweep(sweep_project.folder, "score.plus=1", targets=["score"])
    again = run_sweep(sweep_project.folder, "score.plus=1", targets=["score"])
    sweep_project.write({"params.yaml": PARAMS.replace("by: 1", "by: 8")})
    other = run_sweep(sweep_project.folder, "score.plus=1,'1'", targets=["score"])
    assert [trial.error for trial in [*first, *again, *other]] == [None] * 4
    names = {trial.experiment for trial in other}
    assert {record["experiment"] for record in read_records(sweep_project.folder)} == {*names, "plus=1"}
    assert first[0].experiment == again[0].experiment == "plus=1"
    assert len(names) == 2 and all(re.fullmatch(r"plus=(1|_1_)-[0-9a-f]{8}", name) for name in names)
    head = sweep_project.git("rev-parse", "HEAD")
    sweep_project.write({"dvc.yaml": sweep_project.read("dvc.yaml") + "# edited\n"})
    edited = run_sweep(sweep_project.folder, "score.plus=1", targets=["score"])[0].experiment
    assert edited not in {*names, "plus=1"} and edited.startswith("plus=1-")
    for name, by in (("plus=1", 1), *((name, 8) for name in {*names, edited})):
        text = sweep_project.git("show", f"refs/exps/{head[:2]}/{head[2:]}/{name}:params.yaml")
        assert f"by: {by}" in text
