"""`inkflow up`: starts everything with one command, runs schedules and automations, and leaves no process behind."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from flows.prefect_server.automations import CRASH_AUTOMATION
from flows.prefect_server.environment import DATABASE, HEARTBEAT, HEARTBEAT_S
from flows.prefect_server.notifications.receivers import NOTIFY
from flows.prefect_server.up_settings import WEBHOOK, check_database
from stages.base.errors import InkflowError
from tests.conftest import Toy, wait_until
from tests.flows.prefect_server.conftest import SECRET, SharedUp
from tests.support.http_receiver import Receiver
from tests.support.postgres import PASSWORD as DATABASE_PASSWORD
from tests.support.postgres import find_program, running_postgres
from tests.support.scheduled_project import scheduled
from tests.support.up_process import Up, environment, is_worker, preflight, run_up, running_up

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.in_order,  # the schedule of the first test would disturb the others, and the last one ends the server
    pytest.mark.timeout(900),  # on a busy machine
]

ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture
def project(shared_up: SharedUp) -> Toy:
    """The project of the shared `inkflow up`."""
    return shared_up.project


@pytest.fixture
def receiver(shared_up: SharedUp) -> Receiver:
    """The server that the webhook of the shared `inkflow up` calls."""
    return shared_up.receiver


@pytest.fixture
def phone(shared_up: SharedUp) -> Receiver:
    """The server of a push service, which the shared `inkflow up` calls too."""
    return shared_up.phone


@pytest.mark.farm
def test_schedule_fires_by_itself_and_is_cached(up: Up, project: Toy) -> None:
    """The worker runs what the schedule starts: in the first run the stages run, in the second all are Cached."""
    often = up.get("/deployments/name/inkflow/often")
    schedule = f"/deployments/{often['id']}/schedules/{often['schedules'][0]['id']}"
    up.patch(schedule, active=True)
    try:
        wait_until(lambda: len(up.runs("often", "Completed")) >= 2, timeout_s=180)
    finally:
        up.patch(schedule, active=False)  # the other tests need the worker
    first, second, *_ = up.runs("often", "Completed")
    assert set(up.ended_tasks(first, 4).values()) == {"Completed"}
    assert up.ended_tasks(second, 4) == dict.fromkeys(["source", "side@left", "side@right", "join"], "Cached")
    assert [project.runs(name) for name in ("source", "left", "right", "join")] == [1, 1, 1, 1]
    wait_until(lambda: any("source.runs" in line for line in up.lines(first["id"])), timeout_s=60)


def test_run_shows_the_output_of_its_stages(up: Up, project: Toy) -> None:
    """A run of a deployment has logs and progress in the API, whatever `inkflow up` sets for its own quiet."""
    run = up.start("inkflow/nightly", targets=["loud"])
    up.wait_for(run, "Completed")
    wait_until(lambda: {"epoch 1 of 2", "epoch 2 of 2"} <= set(up.lines(run)), timeout_s=60)
    artifacts = up.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    assert {artifact["key"]: artifact["data"] for artifact in artifacts}["progress-loud"] == 100.0
    assert "PREFECT_LOGGING_LEVEL=INFO" in project.read("seen")


@pytest.mark.farm
def test_failed_run_calls_the_webhook(up: Up, receiver: Receiver, phone: Receiver) -> None:
    """A failed nightly run posts its deployment, state and message; no log shows the password in a receiver's URL."""
    run = up.start("inkflow/nightly", targets=["no-such-stage"])
    up.wait_for(run, "Failed")
    wait_until(lambda: any(posted["state"] == "Failed" for posted in receiver.posted), timeout_s=60)
    [posted] = [posted for posted in receiver.posted if posted["state"] == "Failed"]
    assert posted["deployment"] == "nightly"
    assert "unknown stage 'no-such-stage'" in posted["message"]
    assert posted["text"].startswith("Inkflow: nightly Failed unknown stage")
    assert posted["url"].endswith(run)
    assert receiver.headers[0]["Authorization"].startswith("Basic ")
    wait_until(lambda: any(pushed["title"] == "Inkflow: nightly Failed" for pushed in phone.posted), timeout_s=60)
    assert "to the webhook, ntfy://***, when an unattended run fails" in up.output
    assert SECRET not in up.output + up.logs


def test_started_processes_do_not_know_the_receivers(up: Up) -> None:
    """No server, worker, run or stage has the URL of a receiver, with which anyone can post, in its environment."""
    descendants = psutil.Process(up.process.pid).children(recursive=True)
    assert len(descendants) >= 3
    environments = [process.environ() for process in descendants if process.is_running()]
    assert [names for names in environments if {WEBHOOK, NOTIFY} & names.keys()] == []


@pytest.mark.farm
def test_killed_run_is_crashed_and_starts_again(up: Up, project: Toy, receiver: Receiver) -> None:
    """A run whose process is killed is marked as crashed, calls the webhook, is restarted, and completes."""
    run = up.start("inkflow/nightly", targets=["slow"])
    wait_until(lambda: (project.folder / "started").exists(), timeout_s=120)
    for process in psutil.process_iter(["environ"]):
        values = process.info["environ"] or {}
        if values.get("PREFECT__FLOW_RUN_ID") == run and not values.get("DVC_STAGE"):
            process.kill()
    up.wait_for(run, "Completed")
    assert up.get(f"/flow_runs/{run}")["run_count"] == 2
    wait_until(lambda: any("touch slow" in line for line in up.lines(run)), timeout_s=60)
    wait_until(
        lambda: any(post["state"] == "Crashed" and post["url"].endswith(run) for post in receiver.posted), timeout_s=60
    )
    assert (project.folder / "slow").exists()


@pytest.mark.farm
def test_late_run_calls_the_webhook(up: Up, receiver: Receiver) -> None:
    """A nightly run that no worker starts in time calls the webhook as late."""
    up.patch("/work_pools/local", is_paused=True)
    run = up.start("inkflow/nightly")
    try:
        wait_until(lambda: any(posted["state"] == "Late" for posted in receiver.posted), timeout_s=90)
    finally:
        up.patch("/work_pools/local", is_paused=False)
    assert any(posted["state"] == "Late" and posted["url"].endswith(run) for posted in receiver.posted)
    up.wait_for(run, "Completed")


def test_other_pages_are_refused(up: Up) -> None:
    """The server refuses requests of an open web page of another origin, and accepts those of its own page."""
    foreign, own = (
        [preflight(up.api, origin), up.count_runs(Origin=origin)]
        for origin in ("https://evil.example", f"http://127.0.0.1:{up.port}")
    )
    assert [response.headers.get(ALLOWED) for response in foreign] == [None, None]
    assert [response.status_code for response in foreign] == [403, 403]
    assert [response.headers[ALLOWED] for response in own] == [f"http://127.0.0.1:{up.port}"] * 2
    assert own[0].status_code == 200


@pytest.mark.parametrize("content_type", [None, "text/plain"])
def test_requests_without_preflight_start_no_run(up: Up, content_type: str | None) -> None:
    """A page of another origin creates no run with the requests that a browser sends without a CORS preflight."""
    deployment = up.get("/deployments/name/inkflow/nightly")["id"]
    headers = {"Origin": "https://evil.example"} | ({"Content-Type": content_type} if content_type else {})
    url = f"{up.api}/deployments/{deployment}/create_flow_run"
    assert httpx.post(url, content=b"{}", headers=headers, auth=up.auth, timeout=240).status_code == 403


@pytest.mark.parametrize(("page", "is_accepted"), [("https://evil.example", False), (None, True)])
def test_web_sockets_of_other_pages_are_refused(up: Up, page: str | None, is_accepted: bool) -> None:
    """A page of another origin opens no web socket, over which it could emit events; the server's own page does."""
    origin = Origin(page or f"http://127.0.0.1:{up.port}")
    url = f"ws://127.0.0.1:{up.port}/api/events/in"
    refused = nullcontext() if is_accepted else pytest.raises(InvalidStatus, match="403")
    with refused, connect(url, origin=origin, subprotocols=[Subprotocol("prefect")]):
        pass


@pytest.mark.farm
def test_healthy_run_of_any_client_is_safe(up: Up) -> None:
    """A client with Prefect's default interval may miss two heartbeats; `inkflow run` sends heartbeats more often."""
    program = "from prefect.settings.models.flows import FlowsSettings; print(FlowsSettings().heartbeat_frequency)"
    settings = environment(PREFECT_HOME=str(up.folder / "home"))
    for name in HEARTBEAT:
        settings.pop(name, None)
    done = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True, check=True)
    automations = {automation["name"]: automation for automation in up.post("/automations/filter")}
    assert automations[CRASH_AUTOMATION]["trigger"]["within"] >= 3 * int(done.stdout) > 3 * HEARTBEAT_S


@pytest.mark.farm
def test_run_without_heartbeat_is_crashed(up: Up) -> None:
    """A run without a process and a worker is marked as crashed once its heartbeats stop."""
    program = (
        "from prefect import get_client, flow; from prefect.events import emit_event\n"
        "from prefect.states import Running; from flows.prefect_server.automations import set_up_automations\n"
        "idle = flow(lambda: None, name='idle')\n"
        "with get_client(sync_client=True) as client:\n"
        "    set_up_automations(client, 4)\n"
        "    run = client.create_flow_run(idle, state=Running())\n"
        "emit_event('prefect.flow-run.heartbeat', {'prefect.resource.id': f'prefect.flow-run.{run.id}'})\n"
        "print(run.id)\n"
    )
    run = up.output_of(program).split()[-1]
    up.wait_for(run, "Crashed")
    assert "no heartbeat" in up.get(f"/flow_runs/{run}")["state"]["message"]


def test_existing_pool_stays_as_it_is(up: Up) -> None:
    """A limit and variables that a user set for a pool are kept by the next `inkflow up`."""
    template = up.get("/work_pools/local")["base_job_template"]
    template["variables"]["properties"]["env"]["default"]["MINE"] = "1"
    up.patch("/work_pools/local", concurrency_limit=7, base_job_template=template)
    program = (
        "from pathlib import Path; from prefect import get_client; from flows.prefect_server.pools import create_pool\n"
        "with get_client(sync_client=True) as client: create_pool(client, Path(), 'local')\n"
    )
    up.output_of(program)
    pool = up.get("/work_pools/local")
    assert (pool["concurrency_limit"], pool["base_job_template"]) == (7, template)


def test_other_users_cannot_read_the_folder(up: Up) -> None:
    """The folder with database and logs is closed to other users, also if an older version made it readable."""
    assert (up.folder / ".inkflow/up").stat().st_mode & 0o777 == 0o700


def test_second_process_in_the_folder_is_refused(up: Up) -> None:
    """A second `inkflow up` in the same folder, which would share the database, ends with an error."""
    done = run_up(up.folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: `inkflow up` already runs in ")


@pytest.mark.farm
def test_ctrl_c_ends_all_processes_and_keeps_the_database(up: Up, project: Toy) -> None:
    """Ctrl-C ends server, worker and runs; the database stays, and `inkflow prune` removes old runs from it."""
    assert up.runs("nightly")
    assert up.end(signal.SIGINT) == 0, up.output
    up.wait_until_gone()
    assert "Traceback" not in up.output
    command = [sys.executable, "-m", "flows", "prune", "--older-than", "0", "--also-for", ".", "--json"]
    done = subprocess.run(command, cwd=project.folder, env=environment(), capture_output=True, check=True)
    with closing(sqlite3.connect(project.folder / ".inkflow/up/prefect.db")) as database:
        ended = "state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED')"
        [remaining] = database.execute(f"SELECT count(*) FROM flow_run WHERE {ended}").fetchone()
    result = json.loads(done.stdout)
    assert result["flow_runs"] >= 1, result
    assert remaining == 0


@pytest.mark.skipif(find_program("postgres") is None, reason="needs PostgreSQL: apt-get install postgresql")
@pytest.mark.farm
def test_password_and_postgresql_and_kill(tmp_path: Path) -> None:
    """Off loopback, the server requires a password, which its worker has; a kill leaves no process behind either.

    The runs are in the configured database; no log or process shows that database's password.
    """
    project = scheduled(tmp_path / "toy")
    with (
        running_postgres() as url,
        running_up(project.folder, tmp_path / "up.log", ["--host", "0.0.0.0"], **{DATABASE: url}) as up,
    ):
        path = project.folder / ".inkflow/up/auth"
        assert path.stat().st_mode & 0o777 == 0o600
        assert httpx.post(f"{up.api}/flow_runs/count", json={}, timeout=240).status_code == 401
        assert up.auth[1] not in up.output + up.logs
        assert "in .inkflow/up/auth" in up.output
        up.wait_for(up.start("inkflow/nightly"), "Completed")
        assert len(up.runs("nightly")) == 1  # the configured database was empty before
        commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        assert DATABASE_PASSWORD not in str(commands)
        [worker] = [process for process in psutil.Process(up.process.pid).children(True) if is_worker(process)]
        assert DATABASE not in worker.environ()
        assert DATABASE_PASSWORD not in up.output + up.logs
        with pytest.raises(InkflowError, match="does not answer") as refused:
            check_database(url.replace(DATABASE_PASSWORD, "guessed"))
        assert "guessed" not in str(refused.value)
        up.process.kill()
        up.process.wait()
        up.wait_until_gone()
