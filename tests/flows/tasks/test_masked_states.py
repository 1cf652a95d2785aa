"""Masks secrets in the states, reports and logs that flows write to the Prefect server, on workers too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.core.errors import Interrupted, OrderUnusable, StageFailed
from flows.tasks.failure_state import failure_state
from flows.workers.stage_report import ExitStatus, Report, describe_error
from stages.base.errors import InkflowError
from tests.flows.test_pipeline import finished_run
from tests.support.prefect_api import api
from tests.support.root import ROOT

SECRET = "correct-horse+battery/staple"


@pytest.mark.parametrize(
    ("error", "state", "ending"),
    [
        (InkflowError(f"s: no entry for {SECRET}"), "FAILED", ExitStatus.BROKEN),
        (StageFailed("s", 3, ["epoch 1", f"error: no entry for {SECRET}"]), "FAILED", ExitStatus.FAILED),
        (OrderUnusable(f"git fetch: https://me:{SECRET}@host"), "FAILED", ExitStatus.REFUSED),
        (Interrupted(f"train@{SECRET}"), "CANCELLED", ExitStatus.INTERRUPTED),
    ],
)
def test_states_and_reports_of_errors(
    error: InkflowError, state: str, ending: ExitStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of an error appears in a state and in a worker's report without its secrets."""
    monkeypatch.setenv("TOKEN", SECRET)
    final, (status, _, words) = failure_state(error), describe_error(error)
    assert (final.type.value, status) == (state, ending)
    for message in (final.message, words):
        assert message and SECRET not in message and "***" in message


def test_every_deployed_flow_masks_its_logs() -> None:
    """Importing the module of any deployed flow masks secrets in log records from then on."""
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
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(modules) >= 5
    assert process.stdout.splitlines() == [f"{module} True" for module in sorted(modules)]


@pytest.mark.server
@pytest.mark.farm
def test_a_worker_masks_secrets_in_addresses(tmp_path: Path, prefect_url: str) -> None:
    """If a worker cannot fetch a commit from an address with a password, the state, report and logs of its run have
    `***` in place of the password.
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
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stderr
    run = finished_run(prefect_url, 0).flow_run
    report = api(prefect_url, "POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    text = json.dumps([run["state"], report]) + process.stdout + process.stderr
    assert run["state"]["type"] == "FAILED"
    assert len(report) == 1 and "http://me:***@127.0.0.1:9/project.git" in json.dumps(report)
    assert "http://me:***@127.0.0.1:9/project.git" in run["state"]["message"]
    assert "hunter2222" not in text


def test_names_in_a_report_are_fit_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table that a worker sends has no secret and no control sequence, whatever it and the stage are named."""
    monkeypatch.setenv("STORE_PASSWORD", "swordfish")
    report = Report.from_table(Report("w\x1b[2J\u202e", "s@swordfish", doing="s@swordfish runs").to_table())
    assert report == Report("w", "s@***", doing="s@*** runs")
