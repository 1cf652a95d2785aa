"""The whole project on small data: the pipeline, its cache and its records, as a user of it sees them."""

import json
import re
import subprocess

import pytest

from stages.params.schema import load_params
from tests.conftest import SMALL_MODELS, Inkflow, Project
from tests.support.root import ROOT

pytestmark = [pytest.mark.server, pytest.mark.slow]


def dvc(*arguments: str) -> str:
    """Output of a `dvc` command in the current folder."""
    return subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=True).stdout


def marked(output: str, mark: str) -> set[str]:
    """Stages that `inkflow run` marked with `mark`: + ran, < restored, = unchanged."""
    return set(re.findall(rf"^\{mark} (\S+)", output, flags=re.MULTILINE))


@pytest.fixture
def done(project: Project, inkflow: Inkflow) -> Project:
    """The project with everything up to date: trained by the first test that asks, restored for the others."""
    run = inkflow("run", folder=project.folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return project


def test_run_leaves_a_report(done: Project) -> None:
    """`inkflow run` ends with a report of the models named in params.yaml."""
    assert "dense" in done.read("reports/index.html")
    assert {line.split(",")[0] for line in done.read("reports/metrics.csv").splitlines()[1:]} == {
        "dense",
        "cnn",
    }
    assert len(done.read("reports/summary.md").splitlines()) < 60


def test_nothing_left_to_do(done: Project, inkflow: Inkflow) -> None:
    """At once afterwards `dvc repro` and `inkflow run` execute nothing, and `dvc status` is clean."""
    assert "Data and pipelines are up to date." in dvc("repro")
    assert "Data and pipelines are up to date." in dvc("status")
    assert "Nothing to do" in inkflow("run", folder=done.folder).stdout


def test_dvc_repro_first(project: Project, inkflow: Inkflow) -> None:
    """After `dvc repro`, `inkflow run` executes nothing."""
    dvc("repro")
    assert "Nothing to do" in inkflow("run", folder=project.folder).stdout


@pytest.mark.parametrize("key", ["gates.every.gap_points", "report.smoothing", "models.cnn.epochs"])
def test_a_mistake_anywhere_stops_dvc_repro(done: Project, key: str) -> None:
    """`dvc repro` of one stage says a mistake in a section that it does not read, and runs nothing."""
    before = (done.folder / "dvc.lock").read_bytes()
    done.set({key: -1, "prepare.validation": 0.2})
    run = subprocess.run(["dvc", "repro", "prepare"], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"params.yaml: {key}: got -1" in run.stderr + run.stdout
    assert "Running stage 'prepare'" not in run.stdout
    assert (done.folder / "dvc.lock").read_bytes() == before


def test_one_parameter(done: Project, inkflow: Inkflow) -> None:
    """A changed parameter runs exactly what depends on it; set back, all is restored and nothing trains."""
    changed = inkflow("run", "--set", "models.dense.epochs=3", folder=done.folder)
    assert marked(changed.stdout, "+") == {"train@dense", "evaluate@dense", "report"}
    assert "models.dense.epochs 2 → 3" in changed.stdout
    back = inkflow("run", "--set", "models.dense.epochs=2", folder=done.folder)
    assert marked(back.stdout, "+") == set()
    assert marked(back.stdout, "<") == {"train@dense", "evaluate@dense", "report"}


def test_deleted_model_comes_back(done: Project, inkflow: Inkflow) -> None:
    """A deleted folder of a model is restored without training."""
    before = (done.folder / "models/cnn/model.keras").read_bytes()
    subprocess.run(["rm", "-r", "models/cnn"], check=True)
    again = inkflow("run", folder=done.folder)
    assert marked(again.stdout, "+") == set()
    assert marked(again.stdout, "<") >= {"train@cnn"}
    assert (done.folder / "models/cnn/model.keras").read_bytes() == before


def test_removed_model_leaves_the_report(done: Project, inkflow: Inkflow) -> None:
    """A model removed from params.yaml is gone from the report, though its files are still there."""
    models = {
        "dense": {
            "network": "dense",
            "units": [32],
            "optimizer": {"name": "adam"},
            "batch_size": 32,
            "epochs": 2,
        }
    }
    done.set({"models": models})
    assert inkflow("run", folder=done.folder).returncode == 0
    assert (done.folder / "models/cnn/model.keras").exists()
    assert "cnn" not in done.read("reports/metrics.csv")
    assert "cnn" not in done.read("reports/summary.md")


def test_dvc_shows_something(done: Project) -> None:
    """`dvc metrics show`, `dvc plots show` and `dvc exp show` know the models."""
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"], check=True)
    metrics = json.loads(dvc("metrics", "show", "--json"))[""]["data"]  # DVC names the workspace so
    assert 0 < metrics["evaluation/cnn/metrics.json"]["data"]["accuracy"] < 1
    plots = json.loads(dvc("plots", "show", "--json"))["data"]
    assert any("history.csv" in name for name in plots)
    assert any("confusion.csv" in name for name in plots)
    shown = dvc("exp", "show", "--csv", "--no-pager")
    assert "evaluation/cnn/metrics.json:accuracy" in shown
    assert "models.dense.epochs" in shown


def test_git_stays_clean(done: Project) -> None:
    """A run leaves nothing for git but dvc.lock and the metrics, and rewrites no .gitignore."""
    status = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, check=True).stdout
    subprocess.run(["git", "add", "-A"], check=True)
    new = subprocess.run(["git", "diff", "--cached", "--name-only"], capture_output=True, text=True, check=True).stdout
    made = {name for name in new.splitlines() if not (ROOT / name).exists()}
    metrics = {f"{folder}/metrics.json" for folder in ("evaluation/cnn", "evaluation/dense", "reports")}
    assert made <= {"dvc.lock", *metrics}, status


def test_fallback(project: Project, inkflow: Inkflow) -> None:
    """A data set that cannot be had gives way to the fallback, loudly: at the start, the end, in the report."""
    project.set({"dataset": "mnist", "datasets.mnist.url": "http://127.0.0.1:9/mnist.npz"})
    home = str(project.folder / "no-keras-cache")
    run = inkflow("run", "--fallback", "digits", folder=project.folder, INKFLOW_MIRROR="", KERAS_HOME=home)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "mnist CANNOT BE HAD HERE" in run.stdout
    assert run.stdout.count("THIS RUN IS ON digits") == 2
    last = run.stdout.rstrip().splitlines()[-1]
    assert last.startswith("Results: reports/index.html, reports/summary.md, reports/metrics.csv")
    assert "stand-in" in project.read("reports/index.html").lower()
    assert "dataset: digits" in project.read("params.yaml")
    without = inkflow("run", "--dataset", "mnist", folder=project.folder, INKFLOW_MIRROR="", KERAS_HOME=home)
    assert without.returncode == 69
    assert without.stderr.count("\n") == 1
    assert "Traceback" not in without.stdout + without.stderr


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("models.dense.epochs=-1", "models.dense.epochs: got -1, expected 1 or more"),
        ("models.dense.epoch=3", "models.dense.epoch: unknown key; did you mean 'epochs'?"),
        ("models.dens.epochs=3", "there is no key 'dens'; did you mean 'dense'? known: dense, cnn"),
        ("models.dense.optimizer.name=adamm", "did you mean 'adam'?"),
        ("models.dense.loss=mae2", "models.dense.loss: got 'mae2', expected one of"),
        ("epochs", "expected KEY=VALUE"),
        ("dataset=2020-01-01", "dataset: got '2020-01-01', expected text that matches"),
        ("dataset=2020-13-45", "'2020-13-45' is not a YAML value"),
    ],
)
def test_bad_settings(project: Project, inkflow: Inkflow, setting: str, sentence: str) -> None:
    """A bad --set is one sentence and exit code 2; params.yaml stays as it was."""
    before = project.read("params.yaml")
    run = inkflow("run", "--set", setting, folder=project.folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert sentence in run.stderr
    assert project.read("params.yaml") == before


def test_model_kept_ready(project: Project, inkflow: Inkflow) -> None:
    """--with puts a model of `more_models` beside those that are trained, once; an unknown one is refused by name."""
    project.set({"more_models": {"ready": SMALL_MODELS["dense"] | {"units": [8]}}})
    unknown = inkflow("run", "--with", "redy", folder=project.folder)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "--with redy: `more_models` has no model of that name; did you mean 'ready'? known: ready" in unknown.stderr
    before = project.read("params.yaml")
    assert inkflow("run", "--with", "ready", "prepare", folder=project.folder).returncode == 0
    assert load_params(project.folder / "params.yaml").models["ready"].units == [8]
    assert "train@ready" in inkflow("plan", "train", folder=project.folder).stdout
    added = project.read("params.yaml")
    assert "Nothing to do" in inkflow("run", "--with", "ready", "prepare", folder=project.folder).stdout
    assert project.read("params.yaml") == added != before


def test_bad_dataset(project: Project, inkflow: Inkflow) -> None:
    """An unknown data set is refused with the names that there are."""
    assert "known: mnist, digits" in inkflow("run", "--dataset", "mnits", folder=project.folder).stderr
    assert "known: mnist, digits" in inkflow("run", "--fallback", "mnits", folder=project.folder).stderr
