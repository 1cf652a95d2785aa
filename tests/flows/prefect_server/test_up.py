"""`inkflow up`: everything starts with one command, does its work by itself, and goes without a trace."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from flows.prefect_server.automations import SILENT
from flows.prefect_server.environment import DATABASE, HEARTBEAT, HEARTBEAT_S
from flows.prefect_server.up_settings import WEBHOOK, check_database
from stages.base.errors import InkflowError
from tests.conftest import DIAMOND, Toy, wait_until
from tests.support.http_receiver import Receiver
from tests.support.postgres import PASSWORD as DATABASE_PASSWORD
from tests.support.postgres import found, running_postgres
from tests.support.root import ROOT
from tests.support.up_process import Up, environment, preflight, running_up, start_in

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]  # as a busy machine needs

SLOW = "  slow: {cmd: 'test -e started || (touch started; sleep 600); touch slow', deps: [late], outs: [slow]}\n"
DEPLOYMENTS = """
deployments:
  - &nightly
    name: nightly
    entrypoint: flows.scheduled.scheduled
    parameters: {targets: [join]}
    work_pool: {name: local}
  - <<: *nightly
    name: often
    schedules: [{interval: 4}]
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
  - name: retry-crashed
    entrypoint: flows.retry_crashed.retry_crashed
    triggers:
      - type: event
        expect: [prefect.flow-run.Crashed]
        match_related: {prefect.resource.role: deployment, prefect.resource.name: nightly}
        parameters: {run: "{{ event.resource.id }}"}
    work_pool: {name: local}
"""
SECRET = "hunter2"
ALLOWED = "Access-Control-Allow-Origin"
QUICKLY = {  # Prefect looks for late runs every few seconds, and calls them late sooner
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Where the webhook leads."""
    with Receiver().running() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A small project with a schedule of a few seconds."""
    return scheduled(tmp_path_factory.mktemp("up") / "toy")


def scheduled(folder: Path) -> Toy:
    """Such a project in a new folder."""
    folder.mkdir()
    toy = Toy(folder)
    toy.write({"dvc.yaml": DIAMOND + SLOW, "params.yaml": "knobs: {speed: 1}\n", "in": "one\n", "late": "x\n"})
    toy.write({"prefect.yaml": DEPLOYMENTS, "workers/process.json": (ROOT / "workers/process.json").read_text()})
    (folder / ".inkflow/up").mkdir(parents=True, mode=0o755)
    return toy


@pytest.fixture(scope="module")
def up(project: Toy, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`inkflow up` in that project, with a webhook."""
    url = f"http://hook:{SECRET}@127.0.0.1:{receiver.port}/told"
    log = tmp_path_factory.mktemp("log") / "up.log"
    with running_up(project.folder, log, **{WEBHOOK: url}, **QUICKLY) as up:
        yield up


def test_schedule_fires_by_itself_and_is_cached(up: Up, project: Toy) -> None:
    """Nobody starts anything: the worker takes what the schedule gives; first it runs, then all is Cached."""
    wait_until(lambda: len(up.runs("often", "Completed")) >= 2, timeout_s=180)
    wait_until(lambda: len(up.tasks(up.runs("often")[1])) == 4, timeout_s=60)
    first, second, *_ = up.runs("often")
    assert set(up.tasks(first).values()) == {"Completed"}
    assert up.tasks(second) == dict.fromkeys(["source", "side@left", "side@right", "join"], "Cached")
    assert [project.runs(name) for name in ("source", "left", "right", "join")] == [1, 1, 1, 1]
    up.patch(f"/deployments/{up.get('/deployments/name/inkflow/often')['id']}", paused=True)  # rest for other tests


def test_failed_run_calls_the_webhook(up: Up, receiver: Receiver) -> None:
    """A nightly run that fails is told with its deployment, state and message; the address's password is nowhere."""
    run = up.start("inkflow/nightly", targets=["no-such-stage"])
    up.wait_for(run, "Failed")
    wait_until(lambda: any(said["state"] == "Failed" for said in receiver.posted), timeout_s=60)
    [said] = [said for said in receiver.posted if said["state"] == "Failed"]
    assert said["deployment"] == "nightly"
    assert "unknown stage 'no-such-stage'" in said["message"]
    assert said["text"].startswith("Inkflow: nightly Failed unknown stage")
    assert said["url"].endswith(run)
    assert receiver.headers[0]["Authorization"].startswith("Basic ")
    assert SECRET not in up.said + up.logs


def test_what_it_starts_does_not_know_the_webhook(up: Up) -> None:
    """The webhook's address, by which anybody may write into a chat, reaches no server, worker, run or stage."""
    below = psutil.Process(up.process.pid).children(recursive=True)
    assert len(below) >= 3
    assert [process.pid for process in below if process.is_running() and WEBHOOK in process.environ()] == []


def test_killed_run_is_crashed_and_starts_again(up: Up, project: Toy, receiver: Receiver) -> None:
    """The process of a run is killed: the run is marked as crashed, told, started again, and completes."""
    run = up.start("inkflow/nightly", targets=["slow"])
    wait_until(lambda: (project.folder / "started").exists(), timeout_s=120)
    for process in psutil.process_iter(["environ"]):
        values = process.info["environ"] or {}
        if values.get("PREFECT__FLOW_RUN_ID") == run and not values.get("DVC_STAGE"):
            process.kill()
    up.wait_for(run, "Completed")
    assert up.get(f"/flow_runs/{run}")["run_count"] == 2
    assert any(said["state"] == "Crashed" and said["url"].endswith(run) for said in receiver.posted)
    assert (project.folder / "slow").exists()


def test_late_run_calls_the_webhook(up: Up, receiver: Receiver) -> None:
    """A nightly run that nobody starts in time is told as late."""
    up.patch("/work_pools/local", is_paused=True)
    run = up.start("inkflow/nightly")
    try:
        wait_until(lambda: any(said["state"] == "Late" for said in receiver.posted), timeout_s=90)
    finally:
        up.patch("/work_pools/local", is_paused=False)
    assert any(said["state"] == "Late" and said["url"].endswith(run) for said in receiver.posted)
    up.wait_for(run, "Completed")


def test_other_pages_are_refused(up: Up) -> None:
    """A page of the web that a person has open may not ask the server for anything; the server's own page may."""
    foreign, own = (
        [preflight(up.api, origin), httpx.post(f"{up.api}/flow_runs/count", json={}, headers={"Origin": origin})]
        for origin in ("https://evil.example", f"http://127.0.0.1:{up.port}")
    )
    assert [answer.headers.get(ALLOWED) for answer in foreign] == [None, None]
    assert [answer.status_code for answer in foreign] == [403, 403]
    assert [answer.headers[ALLOWED] for answer in own] == [f"http://127.0.0.1:{up.port}"] * 2
    assert own[0].status_code == 200


@pytest.mark.parametrize("content_type", [None, "text/plain"])
def test_what_needs_no_permission_starts_nothing(up: Up, content_type: str | None) -> None:
    """A page may send some requests without being let to; none of them makes a run."""
    deployment = up.get("/deployments/name/inkflow/nightly")["id"]
    headers = {"Origin": "https://evil.example"} | ({"Content-Type": content_type} if content_type else {})
    url = f"{up.api}/deployments/{deployment}/create_flow_run"
    assert httpx.post(url, content=b"{}", headers=headers).status_code == 403


@pytest.mark.parametrize(("page", "let_in"), [("https://evil.example", False), (None, True)])
def test_web_sockets_ask_for_no_permission_either(up: Up, page: str | None, let_in: bool) -> None:
    """A foreign page opens no socket, over which it could say that data are new; the server's own page does."""
    origin = Origin(page or f"http://127.0.0.1:{up.port}")
    url = f"ws://127.0.0.1:{up.port}/api/events/in"
    with nullcontext() if let_in else pytest.raises(InvalidStatus, match="403"), connect(url, origin=origin):
        pass


def test_healthy_run_of_any_client_is_safe(up: Up) -> None:
    """A client that was told nothing may miss two of its heartbeats; `inkflow run` sends them more often."""
    program = (
        "from prefect.settings.models.flows import FlowsSettings; print(FlowsSettings().heartbeat_frequency)\n"
        "from flows.cli.interactive_run import set_prefect_defaults; set_prefect_defaults()\n"
        "print(FlowsSettings().heartbeat_frequency)\n"
    )
    settings = environment(PREFECT_HOME=str(up.folder / "home"))
    for name in HEARTBEAT:
        settings.pop(name, None)
    done = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True, check=True)
    default, ours = map(int, done.stdout.split())
    [automation] = [found for found in up.post("/automations/filter") if found["name"] == SILENT]
    assert automation["trigger"]["within"] >= 3 * default > 3 * ours == 3 * HEARTBEAT_S


def test_silent_run_is_crashed(up: Up) -> None:
    """A run without a process or worker that could speak for it is marked as crashed once its heartbeats stop."""
    program = (
        "from prefect import get_client, flow; from prefect.events import emit_event\n"
        "from prefect.states import Running; from flows.prefect_server.automations import set_up\n"
        "idle = flow(lambda: None, name='idle')\n"
        "with get_client(sync_client=True) as client:\n"
        "    set_up(client, None, 4)\n"
        "    run = client.create_flow_run(idle, state=Running())\n"
        "emit_event('prefect.flow-run.heartbeat', {'prefect.resource.id': f'prefect.flow-run.{run.id}'})\n"
        "print(run.id)\n"
    )
    run = answer_of(program, up).split()[-1]
    up.wait_for(run, "Crashed")
    assert "no heartbeat" in up.get(f"/flow_runs/{run}")["state"]["message"]


def answer_of(program: str, up: Up) -> str:
    """What a program prints that has the server."""
    settings = environment(PREFECT_API_URL=up.api, PREFECT_HOME=str(up.folder / "home"))
    done = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_pool_that_is_there_stays_as_it_is(up: Up) -> None:
    """What a person set for a pool, its limit and its variables, outlives the next `inkflow up`."""
    template = up.get("/work_pools/local")["base_job_template"]
    template["variables"]["properties"]["env"]["default"]["MINE"] = "1"
    up.patch("/work_pools/local", concurrency_limit=7, base_job_template=template)
    program = (
        "from pathlib import Path; from prefect import get_client; from flows.prefect_server.pools import create\n"
        "with get_client(sync_client=True) as client: create(client, Path(), 'local')\n"
    )
    answer_of(program, up)
    found = up.get("/work_pools/local")
    assert (found["concurrency_limit"], found["base_job_template"]) == (7, template)


def test_nobody_else_can_read_what_it_keeps(up: Up) -> None:
    """The folder with database and logs is closed to other users, also one that an older version left open."""
    assert (up.folder / ".inkflow/up").stat().st_mode & 0o777 == 0o700


def test_a_second_one_in_the_folder_is_refused(up: Up) -> None:
    """Two in one folder would share a database: the second one says so and ends."""
    done = start_in(up.folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: `inkflow up` runs already in ")


def test_ctrl_c_leaves_nothing_and_keeps_the_records(up: Up, project: Toy) -> None:
    """Ctrl-C ends server, worker and runs; the records stay, and `inkflow prune` frees those of old runs."""
    assert up.runs("often", "Completed")
    assert up.end(signal.SIGINT) == 0, up.said
    assert up.leaves_nothing()
    assert "Traceback" not in up.said
    command = [sys.executable, "-m", "flows", "prune", "--older-than", "0", "--also-for", ".", "--json"]
    done = subprocess.run(command, cwd=project.folder, env=environment(), capture_output=True, check=True)
    with closing(sqlite3.connect(project.folder / ".inkflow/up/prefect.db")) as database:
        ended = "state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED')"
        [left] = database.execute(f"SELECT count(*) FROM flow_run WHERE {ended}").fetchone()
    told = json.loads(done.stdout)
    assert told["flow_runs"] >= 2, told
    assert left == 0


@pytest.mark.skipif(found("postgres") is None, reason="needs PostgreSQL: apt-get install postgresql")
def test_for_others_with_a_password_on_postgresql_and_killed(tmp_path: Path) -> None:
    """Not on loopback alone, it wants a password, which its worker has; killed outright, it leaves nothing either.

    What it knows is in the database that it was told; the password of that is nowhere.
    """
    project = scheduled(tmp_path / "toy")
    with (
        running_postgres() as url,
        running_up(project.folder, tmp_path / "up.log", ["--host", "0.0.0.0"], **{DATABASE: url}) as up,
    ):
        path = project.folder / ".inkflow/up/auth"
        assert path.stat().st_mode & 0o777 == 0o600
        assert httpx.post(f"{up.api}/flow_runs/count", json={}).status_code == 401
        name, _, password = path.read_text().partition(":")
        up.auth = (name, password)
        assert password not in up.said + up.logs
        assert "in .inkflow/up/auth" in up.said
        up.wait_for(up.start("inkflow/nightly"), "Completed")
        assert len(up.runs("nightly")) == 1  # of the named database, which was empty
        commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        assert DATABASE_PASSWORD not in str(commands)
        [worker] = [process for process in psutil.Process(up.process.pid).children(True) if is_worker(process)]
        assert DATABASE not in worker.environ()
        assert DATABASE_PASSWORD not in up.said + up.logs
        with pytest.raises(InkflowError, match="does not answer") as refused:
            check_database(url.replace(DATABASE_PASSWORD, "guessed"))
        assert "guessed" not in str(refused.value)
        up.process.kill()
        up.process.wait()
        assert up.leaves_nothing()


def is_worker(process: psutil.Process) -> bool:
    """Whether it is a worker of Prefect, not what holds it."""
    return process.cmdline()[1:5] == ["-m", "prefect", "worker", "start"]
