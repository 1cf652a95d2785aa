"""The whole project on small data: the pipeline, its cache and its metrics, as its users see them."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from stages.params.schema import load_params
from tests.conftest import SMALL_MODELS, Inkflow, Project
from tests.support.commands import dvc, run_python
from tests.support.root import ROOT

pytestmark = [pytest.mark.server, pytest.mark.slow]


def marked(output: str, mark: str) -> set[str]:
    """Returns the stages with a mark in the output of `inkflow run`: + ran, < restored, = unchanged."""
    return set(re.findall(rf"^\{mark} (\S+)", output, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def finished(original: Project, tmp_path_factory: pytest.TempPathFactory, inkflow: Inkflow) -> Project:
    """The project with all stages up to date."""
    project = original.copy_to(tmp_path_factory.mktemp("finished") / "project")
    run = inkflow("run", folder=project.folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return project


@pytest.fixture(scope="module")
def unchanged(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in which nothing has run, for commands that refuse."""
    return original.copy_to(tmp_path_factory.mktemp("unchanged") / "project")


@pytest.fixture
def done(finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the project with all stages up to date; also the current folder."""
    project = finished.copy_to(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    return project


def test_run_writes_a_report(finished: Project) -> None:
    """`inkflow run` writes a report of the models in params.yaml."""
    assert "dense" in finished.read("reports/index.html")
    rows = [line.split(",")[0] for line in finished.read("reports/metrics.csv").splitlines()[1:]]
    assert set(rows) - {"trivial answer"} == {"dense", "cnn"}
    assert len(finished.read("reports/summary.md").splitlines()) < 60


def test_second_run_executes_nothing(finished: Project, inkflow: Inkflow) -> None:
    """After a run, `dvc repro` and `inkflow run` execute nothing, and `dvc status` is clean."""
    assert "Data and pipelines are up to date." in dvc("repro", folder=finished.folder)
    assert "Data and pipelines are up to date." in dvc("status", folder=finished.folder)
    assert "Nothing to do" in inkflow("run", folder=finished.folder).stdout


@pytest.mark.farm
def test_dvc_repro_first(project: Project, inkflow: Inkflow) -> None:
    """After `dvc repro`, `inkflow run` executes nothing."""
    dvc("repro")
    assert "Nothing to do" in inkflow("run", folder=project.folder).stdout


def test_a_mistake_anywhere_stops_dvc_repro(done: Project) -> None:
    """`dvc repro` of one stage reports mistakes in sections of other stages, and runs nothing."""
    before = (done.folder / "dvc.lock").read_bytes()
    keys = ("gates.every.gap_points", "report.smoothing", "models.cnn.epochs")
    done.set(dict.fromkeys(keys, -1) | {"prepare.validation": 0.2})
    run = run_python("-m", "dvc", "repro", "prepare", folder=done.folder)
    assert run.returncode != 0
    for key in keys:
        assert f"{key}: got -1" in run.stderr + run.stdout
    assert "Running stage 'prepare'" not in run.stdout
    assert (done.folder / "dvc.lock").read_bytes() == before


@pytest.mark.farm
def test_one_parameter(done: Project, inkflow: Inkflow) -> None:
    """A changed parameter runs exactly its dependent stages; changed back, they are restored."""
    changed = inkflow(
        "run", "--set", "models.dense.epochs=7", folder=done.folder
    )  # of this test alone: all share a cache
    assert marked(changed.stdout, "+") == {"validate", "train@dense", "evaluate@dense", "report"}
    assert "models.dense.epochs 2 → 7" in changed.stdout
    back = inkflow("run", "--set", "models.dense.epochs=2", folder=done.folder)
    assert marked(back.stdout, "+") == set()
    assert marked(back.stdout, "<") == {"validate", "train@dense", "evaluate@dense", "report"}


@pytest.mark.farm
def test_deleted_model_is_restored(done: Project, inkflow: Inkflow) -> None:
    """A deleted model folder is restored without training."""
    before = (done.folder / "models/cnn/model.keras").read_bytes()
    subprocess.run(["rm", "-r", "models/cnn"], check=True)
    again = inkflow("run", folder=done.folder)
    assert marked(again.stdout, "+") == set()
    assert marked(again.stdout, "<") >= {"train@cnn"}
    assert (done.folder / "models/cnn/model.keras").read_bytes() == before


@pytest.mark.farm
def test_removed_model_leaves_the_report(done: Project, inkflow: Inkflow) -> None:
    """The report has no model that was removed from params.yaml, although its files still exist."""
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


@pytest.mark.farm
def test_dvc_shows_metrics_and_plots(done: Project) -> None:
    """`dvc metrics show reports/metrics.json` is one row that fits 120 columns; other files have the single models.

    `dvc plots show` and `dvc exp show` have the results too.
    """
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"], check=True)
    best = dvc("metrics", "show", "reports/metrics.json")
    assert max(map(len, best.splitlines())) <= 120 and len(best.splitlines()) == 2
    assert {"best", "validation_loss", "test_accuracy", "trivial", "gates"} <= set(best.split())
    files = ["models/cnn/validation.json", "evaluation/cnn/metrics.json"]
    metrics = json.loads(dvc("metrics", "show", "--json", *files))[""]["data"]  # DVC's key of the workspace
    assert "validation_loss" in metrics["models/cnn/validation.json"]["data"]
    assert 0 < metrics["evaluation/cnn/metrics.json"]["data"]["accuracy"] < 1
    plots = json.loads(dvc("plots", "show", "--json"))["data"]
    assert {row["filename"] for row in plots["Learning curves"][0]["content"]["data"]["values"]} >= {"cnn/history.csv"}
    assert any("history.csv" in name for name in plots)
    assert any("confusion.csv" in name for name in plots)
    table = dvc("exp", "show", "--csv", "--no-pager")
    assert "models.dense.epochs" in table
    names = table.splitlines()[0].split(",")
    assert names.index("best") < names.index("validation_loss") < names.index("test_accuracy")


def test_git_stays_clean(done: Project) -> None:
    """A run adds only dvc.lock, environment.lock and the metrics to git, and changes no .gitignore."""
    status = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, check=True).stdout
    subprocess.run(["git", "add", "-A"], check=True)
    new = subprocess.run(["git", "diff", "--cached", "--name-only"], capture_output=True, text=True, check=True).stdout
    added = {name for name in new.splitlines() if not (ROOT / name).exists()}
    metrics = {f"{folder}/metrics.json" for folder in ("evaluation/cnn", "evaluation/dense", "reports")}
    assert added <= {"dvc.lock", "environment.lock", *metrics}, status


@pytest.mark.farm
def test_fallback(project: Project, inkflow: Inkflow) -> None:
    """The fallback replaces an unavailable data set, with notices at the start, at the end and in the report."""
    project.set({"dataset": "mnist", "datasets.mnist.url": "http://127.0.0.1:9/mnist.npz"})
    home = str(project.folder / "no-keras-cache")
    run = inkflow("run", "--fallback", "digits", folder=project.folder, INKFLOW_MIRROR="", KERAS_HOME=home)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "mnist IS NOT AVAILABLE HERE" in run.stdout
    assert run.stdout.count("THIS RUN IS ON digits") == 2
    last = run.stdout.rstrip().splitlines()[-1]
    assert last.startswith("Results: reports/index.html, reports/summary.md, reports/metrics.csv")
    assert "stand-in" in project.read("reports/index.html").lower()
    assert "dataset: digits" in project.read("params.yaml")
    without = inkflow("run", "--dataset", "mnist", folder=project.folder, INKFLOW_MIRROR="", KERAS_HOME=home)
    assert without.returncode == 69
    errors = [line for line in without.stderr.splitlines() if not line.startswith("the run waits: ")]  # shared cache
    assert len(errors) == 1 and errors[0].startswith("error: ")
    assert "Traceback" not in without.stdout + without.stderr


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("setting", "message"),
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
def test_bad_settings(unchanged: Project, inkflow: Inkflow, setting: str, message: str) -> None:
    """An invalid --set ends with exit code 2 and a message, and params.yaml stays unchanged."""
    before = unchanged.read("params.yaml")
    run = inkflow("run", "--set", setting, folder=unchanged.folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert message in run.stderr
    assert unchanged.read("params.yaml") == before


@pytest.mark.farm
def test_model_of_more_models(project: Project, inkflow: Inkflow) -> None:
    """--with copies a model of `more_models` to `models` once, and rejects an unknown name."""
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


def test_bad_dataset(unchanged: Project, inkflow: Inkflow) -> None:
    """The message about an unknown data set has the known names."""
    assert "known: mnist, digits" in inkflow("run", "--dataset", "mnits", folder=unchanged.folder).stderr
    assert "known: mnist, digits" in inkflow("run", "--fallback", "mnits", folder=unchanged.folder).stderr
