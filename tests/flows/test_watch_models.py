"""An alarm of a watched model becomes one event on Prefect's server, which notifies and can start a retraining."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prefect import get_client
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from flows.core.alarms import DRIFT, standing_alarms
from flows.core.values import counted
from flows.watch_models import watch_models
from stages.monitor.command import main as monitor
from stages.predict import score
from tests.conftest import Project, wait_until
from tests.flows.prefect_server.notifications.test_notifier import Told
from tests.flows.test_deployment import environment, prefect
from tests.support.http_receiver import Receiver
from tests.support.prefect_api import api, runs_of
from tests.support.root import ROOT
from tests.support.watched import digits, write_watched_reader

__all__ = ["environment"]  # fixture


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a project with the watched model `reader` and printed digits in `inbox`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "inbox").mkdir()
    samples = 1000 + int.from_bytes(os.urandom(2)) % 5000  # another model than that of other tests on this server
    write_watched_reader(tmp_path / "models/reader/model.onnx", samples)
    np.save(tmp_path / "inbox/inverted.npy", 255 - digits(150))
    return tmp_path


def raise_alarm() -> None:
    """Scores the inverted digits without Prefect."""
    score.main(["--model=reader", "--folder=inbox", "--out=s.parquet"])
    assert standing_alarms(Path())


def events(url: str, digest: str) -> list[dict[str, Any]]:
    """Returns the events of a model on the server."""
    wanted = {"event": {"name": [DRIFT]}, "resource": {"id": [f"inkflow.model.{digest[:12]}"]}}
    found: list[dict[str, Any]] = api(url, "POST", "/events/filter", {"filter": wanted})["events"]
    return found


def check_models() -> str:
    """Calls the flow `watch-models` outside of a flow run, and returns the message of its state."""
    with disable_run_logger():
        return str(watch_models.fn().message)


def test_standing_alarms_are_read_without_the_stages(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms are listed until a decision ends them; other files have none; nothing that computes loads."""
    assert standing_alarms(work) == []
    raise_alarm()
    (work / ".inkflow/watch/broken.json").write_text("[1")
    (work / ".inkflow/watch/other.json").write_text('{"alarms": 3}')
    found = standing_alarms(work)
    assert {alarm.model for alarm in found} == {"reader"} and "ink" in {alarm.statistic for alarm in found}
    program = "import sys; from flows.core.alarms import standing_alarms; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    (work / ".inkflow/watch/broken.json").unlink()
    (work / ".inkflow/watch/other.json").unlink()
    assert monitor(["reader", "--acknowledge", "known"]) == 0
    assert standing_alarms(work) == []


@pytest.mark.server
@pytest.mark.farm
def test_an_alarm_is_one_event_and_one_post(work: Path, prefect_url: str, tmp_path: Path) -> None:
    """The flow sends an event with the sentences, once; receivers of `inkflow up` get one post; a new alarm is new."""
    raise_alarm()
    digest = standing_alarms(work)[0].model_sha256
    settings = temporary_settings({PREFECT_API_URL: prefect_url})
    with (
        settings, get_client(sync_client=True) as client, httpx.Client(base_url=prefect_url, timeout=240) as server,
        Receiver().running() as receiver,
    ):  # fmt: skip
        told = Told(prefect_url, client, server, receiver, tmp_path)
        number = len(standing_alarms(work))
        assert check_models() == f"{counted(number, 'alarm stands', 'alarms stand')}, {number} of them new"
        assert check_models() == f"{counted(number, 'alarm stands', 'alarms stand')}, 0 of them new"
        wait_until(lambda: len(events(prefect_url, digest)) == 1, timeout_s=60)
        [event] = events(prefect_url, digest)
        assert event["resource"]["prefect.resource.name"] == "reader"
        assert any("ink is higher" in alarm["sentence"] for alarm in event["payload"]["alarms"])
        posts = [post for post in told.poll() if post[1] == "Drift" and post[0] == "reader"]
        assert len(posts) == 1 and "ink is higher" in posts[0][2] and told.poll() == []
        assert event["id"] in receiver.posted[-1]["url"]
        assert monitor(["reader", "--reset", "the scanner was repaired"]) == 0
        assert check_models() == "0 alarms stand, 0 of them new"
        (work / "s.parquet").unlink()
        raise_alarm()
        assert ", 0 of them" not in check_models()
        wait_until(lambda: len(events(prefect_url, digest)) == 2, timeout_s=60)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.farm
def test_the_flow_score_sends_the_event(work: Path, prefect_url: str) -> None:
    """A score that raises an alarm sends the event itself, and is Completed; with `watch=False` nothing is watched."""
    code = (
        "from flows.score import score\n"
        "for watch in (False, True, True):\n"
        "    state = score('reader', out=f's-{watch}.parquet', watch=watch, return_state=True)\n"
        "    print(state.name)\n"
    )
    variables = os.environ | {"PREFECT_API_URL": prefect_url, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(work / "h")}
    ended = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=240)
    assert ended.stdout.split() == ["Completed"] * 3, ended.stderr
    digest = standing_alarms(work)[0].model_sha256
    wait_until(lambda: len(events(prefect_url, digest)) == 1, timeout_s=60)
    assert json.loads(next((work / ".inkflow/watch").glob("[!.]*.json")).read_text())["all_images"] == 150


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.slow
def test_a_drift_can_start_a_retraining(
    project: Project, environment: dict[str, str], prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger is off as it comes; when a person has switched it on, an event starts `retrain-on-new-data`."""
    known = [run["id"] for run in runs_of(prefect_url, "retrain-on-new-data")]
    httpx.post(f"{prefect_url}/work_pools/", json={"name": "local", "type": "process"}, timeout=240)
    prefect("deploy", "--name", "retrain-on-new-data", environment=environment)
    found = api(prefect_url, "POST", "/automations/filter", {"automations": {"name": {"any_": ["drift"]}}})
    assert [item["enabled"] for item in found] == [False]
    path, yaml = project.folder / "prefect.yaml", YAML()
    content = yaml.load(path.read_text())
    entry = next(item for item in content["deployments"] if item["name"] == "retrain-on-new-data")
    next(item for item in entry["triggers"] if item["name"] == "drift")["enabled"] = True
    with path.open("w") as file:
        yaml.dump(content, file)
    prefect("deploy", "--name", "retrain-on-new-data", environment=environment)
    write_watched_reader(project.folder / "models/reader/model.onnx", 900)
    (project.folder / "inbox").mkdir()
    np.save(project.folder / "inbox/inverted.npy", 255 - digits(150))
    monkeypatch.chdir(project.folder)
    raise_alarm()
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        check_models()
    wait_until(lambda: len(runs_of(prefect_url, "retrain-on-new-data", known)) == 1, timeout_s=120)
