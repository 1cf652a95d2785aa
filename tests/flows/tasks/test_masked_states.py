"""Secrets in what flows leave on the Prefect server, on workers too: states, reports and logs have `***` instead."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.core.errors import Interrupted, OrderUnusable, StageFailed
from flows.tasks.failure_state import failed
from flows.workers.stage_report import Ending, ending_of
from stages.base.errors import InkflowError
from tests.flows.test_pipeline import settled
from tests.support.prefect_api import api
from tests.support.root import ROOT

SECRET = "correct-horse+battery/staple"


@pytest.mark.parametrize(
    ("error", "state", "ending"),
    [
        (InkflowError(f"s: no entry for {SECRET}"), "FAILED", Ending.BROKEN),
        (StageFailed("s", 3, ["epoch 1", f"error: no entry for {SECRET}"]), "FAILED", Ending.FAILED),
        (OrderUnusable(f"git fetch: https://me:{SECRET}@host"), "FAILED", Ending.REFUSED),
        (Interrupted(f"train@{SECRET}"), "CANCELLED", Ending.INTERRUPTED),
    ],
)
def test_states_and_reports_of_errors(
    error: InkflowError, state: str, ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an error says becomes a state, and a worker's report, without the secrets in it."""
    monkeypatch.setenv("TOKEN", SECRET)
    ended, (kind, _, words) = failed(error), ending_of(error)
    assert (ended.type.value, kind) == (state, ending)
    for said in (ended.message, words):
        assert said and SECRET not in said and "***" in said


def test_every_deployed_flow_masks_its_logs() -> None:
    """Whatever module a worker imports for a flow, from then on log records say no secret."""
    with (ROOT / "prefect.yaml").open() as file:
        entries = [entry["entrypoint"] for entry in YAML(typ="safe").load(file)["deployments"]]
    modules = {
        entry.partition(".py:")[0].replace("/", ".") if ".py:" in entry else entry.rpartition(".")[0]
        for entry in entries
    }
    code = """
import importlib, logging, sys
plain = logging.getLogRecordFactory()
for module in sys.argv[1:]:
    logging.setLogRecordFactory(plain)
    for name in [name for name in sys.modules if name.startswith("flows.")]:
        del sys.modules[name]
    importlib.import_module(module)
    print(module, getattr(logging.getLogRecordFactory(), "masks", False))
"""
    command = [sys.executable, "-c", code, *sorted(modules)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(modules) >= 5
    assert done.stdout.splitlines() == [f"{module} True" for module in sorted(modules)]


@pytest.mark.server
def test_nothing_of_a_worker_tells_a_secret(tmp_path: Path, prefect_url: str) -> None:
    """A worker cannot fetch an order's commit from an address with a password: the state, the report and the logs of
    its run have `***` there.
    """
    source = "http://me:hunter2222@127.0.0.1:9/project.git"
    code = (
        "from flows.train_stage import train_stage\n"
        "from flows.workers.order import Order\n"
        f"order = Order(stage='s', run_key='k', source={source!r}, commit={'0' * 40!r})\n"
        "print(train_stage(order, return_state=True).message)\n"
    )
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_url,
        "PREFECT_HOME": str(tmp_path / "home"),
        "INKFLOW_WORKER_HOME": str(tmp_path / "worker"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    run = settled(prefect_url, 0).flow_run
    report = api(prefect_url, "POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    kept = json.dumps([run["state"], report]) + done.stdout + done.stderr
    assert run["state"]["type"] == "FAILED"
    assert len(report) == 1 and "http://me:***@127.0.0.1:9/project.git" in json.dumps(report)
    assert "http://me:***@127.0.0.1:9/project.git" in run["state"]["message"]
    assert "hunter2222" not in kept
