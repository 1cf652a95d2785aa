"""The next start of `inkflow up`: marks runs that died with the last one, and keeps what a person set on its page."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from flows.prefect_server.automations import CRASH_AUTOMATION
from flows.prefect_server.up_settings import WEBHOOK
from flows.prefect_server.watchdog import marked_pids
from tests.conftest import Toy, wait_until
from tests.support.http_receiver import Receiver
from tests.support.scheduled_project import DEPLOYMENTS, scheduled
from tests.support.up_process import Up, is_worker, running_up

pytestmark = [pytest.mark.server, pytest.mark.farm, pytest.mark.timeout(900)]  # on a busy machine

YEARLY, MONTHLY = "0 0 1 1 *", "0 0 1 * *"
SCHEDULES = f"    schedules: [{{cron: '{YEARLY}', active: false}}]\n"
QUEUE = "    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}\n"
IDLE = """
  - name: idle
    entrypoint: flows.score.score
    schedules: [{cron: '0 0 1 1 *'}]
    triggers: [{type: event, name: idle trigger, expect: [never]}]
    work_pool: {name: local}
  - name: changed
    entrypoint: flows.score.score
    schedules: [{cron: '0 0 1 1 *'}]
    work_pool: {name: local}
"""
PATIENT = """
  patient:
    cmd: touch patient.started; while ! test -e go; do sleep 0.1; done; seq --format 'line %g' 50; touch patient
    outs: [patient]
"""
ENDLESS = "  endless: {cmd: touch endless.started; sleep 3600, outs: [endless]}\n"


@dataclass
class Again:
    """An `inkflow up` after one that was killed in a run, with what was before: a dead run, a waiting run, ids."""

    up: Up
    receiver: Receiver
    project: Toy
    dead: str
    waiting: str
    crash_automation: str

    def start_stage(self, name: str, stage: str) -> str:
        """Adds `stage` to dvc.yaml, starts a run of it, waits for its file `NAME.started`, and returns the run's id."""
        self.project.write({"dvc.yaml": self.project.read("dvc.yaml") + stage})
        run = self.up.start("inkflow/nightly", targets=[name])
        wait_until(lambda: (self.project.folder / f"{name}.started").exists(), timeout_s=120)
        return run

    def kill(self, is_victim: Callable[[psutil.Process], bool]) -> None:
        """Kills those processes of `inkflow up` that `is_victim` names."""
        for process in psutil.Process(self.up.process.pid).children(recursive=True):
            if is_victim(process):
                process.kill()


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Again]:
    """`inkflow up`, its kill in the middle of a run with all of its processes, and its next start."""
    folder = tmp_path_factory.mktemp("again")
    project = scheduled(folder / "toy")
    content = DEPLOYMENTS.replace("    parameters: {targets: [join]}\n", "    parameters: {targets: [join]}\n" + QUEUE)
    content = content.replace("    schedules: [{interval: 4, active: false}]\n", SCHEDULES)
    project.write({"prefect.yaml": content.replace(f"{QUEUE}  - name: retry", "  - name: retry") + IDLE})
    with Receiver().running() as receiver:
        settings = {WEBHOOK: f"http://127.0.0.1:{receiver.port}/hook"}
        with running_up(project.folder, folder / "first.log", **settings) as up:
            change_on_the_page(up)
            automation = crash_automation(up)
            dead = up.start("inkflow/nightly", targets=["slow"])
            wait_until(lambda: (project.folder / "started").exists(), timeout_s=120)
            waiting = up.start("inkflow/nightly")
            wait_until(lambda: up.state(waiting) == "AwaitingConcurrencySlot", timeout_s=60)
            assert up.state(dead) == "Running"
            kill_all(up, dead)
        text = (project.folder / "prefect.yaml").read_text()
        position = text.index("name: changed")
        project.write({"prefect.yaml": text[:position] + text[position:].replace(YEARLY, MONTHLY)})
        with running_up(project.folder, folder / "second.log", **settings) as up:
            yield Again(up, receiver, project, dead, waiting, automation)


def change_on_the_page(up: Up) -> None:
    """Does what a person does on Prefect's page: schedules on and off, a pause, a new schedule, a trigger off."""
    often, idle = (up.get(f"/deployments/name/{name}") for name in ("inkflow/often", "score/idle"))
    up.patch(f"/deployments/{often['id']}/schedules/{often['schedules'][0]['id']}", active=True)
    cron = {"schedule": {"cron": MONTHLY}, "active": True}
    httpx.post(
        f"{up.api}/deployments/{often['id']}/schedules", json=[cron], auth=up.auth, timeout=240
    ).raise_for_status()
    up.patch(f"/deployments/{idle['id']}/schedules/{idle['schedules'][0]['id']}", active=False)
    up.patch(f"/deployments/{idle['id']}", paused=True)
    [trigger] = [item for item in up.post("/automations/filter") if item["name"] == "idle trigger"]
    up.patch(f"/automations/{trigger['id']}", enabled=False)


def crash_automation(up: Up) -> str:
    """Returns the ids of the automation for runs without a heartbeat and of its trigger: running watches have both."""
    [found] = [item for item in up.post("/automations/filter") if item["name"] == CRASH_AUTOMATION]
    return f"{found['id']} {found['trigger']['id']}"


def kill_all(up: Up, run: str) -> None:
    """Kills `inkflow up` with all of its processes and those of `run` at once, as a power cut does."""
    for pid in [up.process.pid, *marked_pids(f":{up.folder}"), *processes_of(run)]:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    up.process.wait()


def test_run_that_died_with_up_starts_again(again: Again) -> None:
    """It is marked as crashed at once, gives up its slot, starts again and completes; each of this is told once."""
    again.up.wait_for(again.waiting, "Completed")
    again.up.wait_for(again.dead, "Completed")
    assert again.up.get(f"/flow_runs/{again.dead}")["run_count"] == 2
    assert "now marked as crashed: " in again.up.output
    wait_until(lambda: "Completed" in told(again), timeout_s=60)
    assert told(again) == ["Crashed", "Completed"]


def told(again: Again) -> list[str]:
    """Returns the states that the webhook got, in order."""
    return [posted["state"] for posted in again.receiver.posted]


def test_watches_of_runs_go_on(again: Again) -> None:
    """The automation for runs without a heartbeat is kept: it goes on to watch the runs of other machines."""
    assert crash_automation(again.up) == again.crash_automation


def test_settings_of_prefects_page_are_kept(again: Again) -> None:
    """Schedules, pauses and triggers stay as a person set them, except schedules that prefect.yaml has changed."""
    often, idle, changed = (
        again.up.get(f"/deployments/name/{name}") for name in ("inkflow/often", "score/idle", "score/changed")
    )
    assert schedules(often) == {YEARLY: True, MONTHLY: True}
    assert schedules(idle) == {YEARLY: False}
    assert schedules(changed) == {MONTHLY: True}
    assert (often["paused"], idle["paused"], changed["paused"]) == (False, True, False)
    triggers = {item["name"]: item["enabled"] for item in again.up.post("/automations/filter")}
    assert (triggers["idle trigger"], triggers["retry-crashed__automation_1"]) == (False, True)


def schedules(deployment: dict[str, Any]) -> dict[str, bool]:
    """Returns for each schedule whether it is active."""
    return {item["schedule"]["cron"]: item["active"] for item in deployment["schedules"]}


def test_cron_schedules_create_runs(again: Again) -> None:
    """An active cron schedule has its next runs on the server; an inactive one, or a paused deployment, has none."""
    wait_until(lambda: all(planned(again, name) for name in ("often", "changed")), timeout_s=120)
    assert set(planned(again, "often")) == set(planned(again, "changed")) == {"01T00:00"}
    assert planned(again, "idle") == []


def planned(again: Again, deployment: str) -> list[str]:
    """Returns day and time of each run that a schedule of the deployment has created."""
    runs = again.up.post("/flow_runs/filter", deployments={"name": {"any_": [deployment]}})
    return [run["expected_start_time"][8:16] for run in runs if run["auto_scheduled"]]


def test_unknown_parameter_is_refused(again: Again) -> None:
    """A run with a parameter that its flow does not have is refused when it is created."""
    identifier = again.up.get("/deployments/name/inkflow/nightly")["id"]
    url = f"{again.up.api}/deployments/{identifier}/create_flow_run"
    answer = httpx.post(url, json={"parameters": {"fource": True}}, auth=again.up.auth, timeout=240)
    assert answer.status_code == 409
    assert "'fource' was unexpected" in answer.text


def test_run_outlives_its_worker(again: Again) -> None:
    """A run whose worker is killed goes on: it completes at its first start, and the API has its further output."""
    up, project = again.up, again.project
    run = again.start_stage("patient", PATIENT)
    again.kill(is_worker)
    wait_until(lambda: "worker-local died and was restarted" in up.output, timeout_s=60)
    project.write({"go": ""})
    up.wait_for(run, "Completed", "Failed", "Crashed")
    assert (up.state(run), up.get(f"/flow_runs/{run}")["run_count"]) == ("Completed", 1)
    wait_until(lambda: "line 50" in up.lines(run), timeout_s=60)


def test_run_is_cancelled_after_the_server_died(again: Again) -> None:
    """A run during which the server was killed and restarted ends Cancelled if a person cancels it afterwards."""
    up, run = again.up, again.start_stage("endless", ENDLESS)
    again.kill(lambda process: "uvicorn" in process.cmdline())
    wait_until(lambda: "server died and was restarted" in up.output and responds(up), timeout_s=180)
    up.post(f"/flow_runs/{run}/set_state", state={"type": "CANCELLING"})
    up.wait_for(run, "Cancelled", "Completed", "Failed", "Crashed")
    assert up.state(run) == "Cancelled"
    wait_until(lambda: not processes_of(run), timeout_s=60)


def responds(up: Up) -> bool:
    """Returns whether the server answers."""
    try:
        return up.count_runs().is_success
    except httpx.HTTPError:
        return False


def processes_of(run: str) -> list[int]:
    """Returns the ids of the processes of a run and of its stages."""
    processes = psutil.process_iter(["environ"])
    return [item.pid for item in processes if (item.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") == run]
