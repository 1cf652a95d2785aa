"""MLflow's runs, as a real server has them: parameters, epochs, files, resumed trainings, the report."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from stages.base.sinks import running_sinks
from tests.conftest import wait_until
from tests.support.mlflow_server import MlflowServer, running_mlflow
from tests.support.root import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is missing: pip install 'inkflow[mlflow]'"),
]
WAIT_S = 240
COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
ROWS = [(epoch, 1 / epoch, 0.5, 2 / epoch, 0.25) for epoch in range(1, 5)]
MODEL = {"network": "dense", "optimizer": {"name": "adam", "learning_rate": 0.01}, "units": [16, 8], "keep": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def experiment(server: MlflowServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An experiment of the test's own, to which the sinks write."""
    settings = {
        "INKFLOW_SINKS": "mlflow",
        "INKFLOW_SINKS_WAIT_S": str(WAIT_S),
        "MLFLOW_TRACKING_URI": server.url,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(WAIT_S),
        "MLFLOW_EXPERIMENT_NAME": request.node.name,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return str(request.node.name)


def start(**changes: Any) -> dict[str, Any]:
    """Returns what a training sends before its first epoch."""
    tags = {"inkflow.data_sha256": "d1"}
    return {"name": "dense", "key": "k" * 64, "parameters": MODEL, "tags": tags, "columns": COLUMNS, **changes}


def train(out: Path, **changes: Any) -> None:
    """Sends all epochs of a training and its outputs, which it writes to `out`."""
    out.mkdir()
    files = [out / name for name in ("model.onnx", "history.csv")]
    for file in files:
        file.write_text(file.name)
    with running_sinks() as sinks:
        sinks.send(**start(**changes))
        sinks.send_rows(ROWS)
        sinks.close("FINISHED", list(map(str, files)))


@pytest.mark.farm
def test_training_and_report(server: MlflowServer, experiment: str, tmp_path: Path) -> None:
    """A training is a run with parameters, epochs, commit, data and model; the report adds its page and test scores."""
    train(tmp_path / "dense")
    page, metrics = tmp_path / "index.html", tmp_path / "models.json"
    page.write_text("<html>")
    metrics.write_text(json.dumps({"dense": {"test_accuracy": 0.75, "parameters": 7, "note": "text"}}))
    with running_sinks(["mlflow"]) as sinks:
        sinks.send(name="report", models={"dense": str(tmp_path / "dense/model.onnx")})
        sinks.close("FINISHED", [str(page), str(metrics)])
    report, run = server.runs(experiment)
    assert (run["info"]["run_name"], run["info"]["status"]) == ("dense", "FINISHED")
    parameters = {entry["key"]: entry["value"] for entry in run["data"]["params"]}
    assert parameters == {
        "network": "dense", "optimizer.name": "adam", "optimizer.learning_rate": "0.01", "units": "[16, 8]",
    }  # fmt: skip
    assert [server.history(run, column) for column in COLUMNS[1:]] == [
        [(row[0], row[number]) for row in ROWS] for number in range(1, 5)
    ]
    tags = {entry["key"]: entry["value"] for entry in run["data"]["tags"]}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (tags["inkflow.data_sha256"], tags["mlflow.source.git.commit"]) == ("d1", commit.strip())
    assert server.files(run, "model") == ["history.csv", "model.onnx"]
    assert (report["info"]["run_name"], report["info"]["status"]) == ("report", "FINISHED")
    assert server.files(report, "report") == ["index.html", "models.json"]
    assert server.history(report, "dense.test_accuracy") == server.history(run, "test_accuracy") == [(0, 0.75)]


@pytest.mark.farm
def test_resumed_training_continues_its_run(server: MlflowServer, experiment: str, tmp_path: Path) -> None:
    """The training that resumes a killed one goes on in its run, with each epoch once; another one has its own run."""
    command = [sys.executable, "-m", "stages.sinks", "mlflow", "--wait", str(WAIT_S)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as killed:
        assert killed.stdin
        killed.stdin.write(json.dumps(start(rows=ROWS[:2])) + "\n")
        killed.stdin.flush()
        wait_until(lambda: any(server.history(run, "val_loss")[1:] for run in server.runs(experiment)), WAIT_S)
    (first,) = server.runs(experiment)
    assert first["info"]["status"] in ("RUNNING", "KILLED")
    train(tmp_path / "resumed", is_resumed=True)
    (run,) = server.runs(experiment)
    assert (run["info"]["run_id"], run["info"]["status"]) == (first["info"]["run_id"], "FINISHED")
    assert server.history(run, "val_loss") == [(row[0], row[3]) for row in ROWS]
    train(tmp_path / "again")
    assert len(server.runs(experiment)) == 2
