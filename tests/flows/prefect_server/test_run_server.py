"""The Prefect server of a run: a named one is checked before any work, a temporary one is not needed for the work."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.core.errors import ServerUnreachable
from flows.prefect_server import server_check
from flows.prefect_server.api_client import connect
from flows.prefect_server.server import Server as RunServer
from tests.conftest import DIAMOND, Inkflow, Toy, wait_until
from tests.flows.dvc_repo.test_remotes import commit
from tests.flows.engine.helpers import errors_of
from tests.support.commands import dvc, run_python
from tests.support.http_server import Server, hang_up, text
from tests.support.prefect_api import api
from tests.support.up_process import environment

pytestmark = pytest.mark.server

DEAD = "http://127.0.0.1:9"
WITHOUT = "the run goes on without it"
# Ends the temporary server of the run in which it is a stage, as soon as the flow run is on that server.
KILLER = """
import contextlib, pathlib, sqlite3, time, psutil
home = pathlib.Path(".inkflow/prefect").absolute()
def is_running():
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(home / "prefect.db")) as database:
        return database.execute("SELECT count(*) FROM flow_run WHERE state_type = 'RUNNING'").fetchone()[0]
while not is_running():
    time.sleep(0.2)
for process in psutil.process_iter():
    with contextlib.suppress(psutil.Error):
        if "uvicorn" in process.cmdline() and process.cwd() == str(home):
            process.kill()
"""


def run(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs `inkflow run` without a named server."""
    settings = environment() | variables
    if "--no-server" in arguments:
        return run_python("-m", "flows", "run", *arguments, folder=folder, environment=settings)
    command = [sys.executable, "-m", "flows", "run", *arguments]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=300)


def run_source_in_pool(diamond: Toy) -> None:
    """Lets the stage `source` run in a pool."""
    dvc("remote", "add", "-q", "-d", "store", str(diamond.folder / "../store"))
    diamond.write({"execution.yaml": "stages: {source: {pool: gpu}}\n", ".gitignore": "/*.runs\n/.inkflow\n/out\n"})
    commit(diamond.folder)


def test_no_server_is_needed(diamond: Toy) -> None:
    """`--no-server` brings the stages up to date, starts and asks no server, and keeps a stage's exit code."""
    done = run(diamond.folder, "--no-server", PREFECT_API_URL=f"{DEAD}/api")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 of 4 stages ran" in done.stdout
    assert not (diamond.folder / ".inkflow/prefect").exists()
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "exit 3")})
    failed = run(diamond.folder, "--no-server")
    assert (failed.returncode, failed.stderr) == (3, "error: source failed (exit code 3): it printed no message\n")
    assert "3 not run" in failed.stdout


def test_stage_of_a_pool_needs_a_server(diamond: Toy) -> None:
    """Without a server, a stage that runs in a work pool fails with the true reason; it is not waited for."""
    run_source_in_pool(diamond)
    failed = run(diamond.folder, "source", "--no-server", PREFECT_API_URL=f"{DEAD}/api")
    assert failed.returncode == 2
    assert "gpu, and `--no-server` lets this run use no Prefect server; leave that option out" in failed.stderr


@pytest.mark.farm
def test_stage_of_a_pool_whose_server_was_lost(diamond: Toy) -> None:
    """After the loss of a named server, a stage of a pool fails with that reason, and not as if none were named."""
    run_source_in_pool(diamond)
    with Server().running() as server:
        server.respond_with(text(200, b'"3.1.0"'), hang_up)
        settings = {"PREFECT_API_URL": f"{server.url}/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
        failed = run(diamond.folder, "source", **settings)
    assert (failed.returncode, failed.stdout.count(WITHOUT)) == (2, 1), failed.stdout + failed.stderr
    assert f"gpu, and the Prefect server at {server.url}/api was lost; run again when it responds" in failed.stderr


@pytest.mark.farm
@pytest.mark.parametrize("code", [0, 3])
def test_server_that_cannot_start(diamond: Toy, code: int) -> None:
    """A temporary server that cannot start is named once with the reason; the run ends with its own exit code."""
    stages = DIAMOND.replace("cp in out", f"cp in out; exit {code}")
    diamond.write({".inkflow/prefect/prefect.db/x": "a folder", "dvc.yaml": stages})
    done = run(diamond.folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.count(WITHOUT) == 1
    assert "unable to open database file" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.farm
def test_home_that_cannot_be_written(diamond: Toy) -> None:
    """A temporary server without a place for its files is named once; the stages run."""
    diamond.write({".inkflow/prefect": "a file"})
    done = run(diamond.folder)
    assert (done.returncode, done.stdout.count(WITHOUT)) == (0, 1), done.stderr
    assert "File exists" in done.stdout
    assert diamond.runs("join") == 1


@pytest.mark.farm
def test_sweep_without_its_server(diamond: Toy) -> None:
    """A sweep whose temporary server cannot start says so once, runs all combinations and records them."""
    diamond.write({".inkflow/prefect": "a file", ".gitignore": "/*.runs\n/.inkflow\n/out\n/left\n/right\n/joined\n"})
    commit(diamond.folder)
    command = [sys.executable, "-m", "flows", "sweep", "--grid", "knobs.speed=2,3"]
    done = subprocess.run(command, cwd=diamond.folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.count(WITHOUT)) == (0, 1), done.stdout + done.stderr
    assert "2 combinations: 2 ran" in done.stdout


def test_ctrl_c_without_server(toy: Toy) -> None:
    """Ctrl-C ends a run without a server and its stage, with the exit code of an interruption."""
    toy.write({"dvc.yaml": "stages: {long: {cmd: touch started; sleep 600; touch end, outs: [end]}}\n"})
    command = [sys.executable, "-m", "flows", "run", "--no-server"]
    with subprocess.Popen(command, cwd=toy.folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: (toy.folder / "started").exists(), timeout_s=60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert errors_of(errors) == ["error: long was interrupted before it finished"]


@pytest.mark.farm
def test_server_that_dies(toy: Toy) -> None:
    """If the temporary server dies in the middle, the run goes on, says so once, and ends with its own exit code."""
    stages = "stages:\n  kill: {cmd: python kill.py; touch killed, outs: [killed]}\n"
    stages += "  fail: {cmd: sh fail.sh, deps: [killed], outs: [failed]}\n"
    toy.write({"dvc.yaml": stages, "kill.py": KILLER, "fail.sh": "exit 3\n"})
    done = run(toy.folder)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.count(WITHOUT) == 1
    assert done.stderr == "error: fail failed (exit code 3): it printed no message\n"


@pytest.mark.farm
def test_callers_settings_do_not_reach_the_server_nor_ours_the_stages(toy: Toy) -> None:
    """A temporary server needs none of the caller's proxies, certificates and settings; stages get them unchanged."""
    program = "import json, os; json.dump(dict(os.environ), open('seen', 'w'))"
    toy.write({"see.py": program, "dvc.yaml": "stages: {see: {cmd: python see.py, outs: [seen]}}\n"})
    variables = {
        "HTTP_PROXY": DEAD, "ALL_PROXY": "socks5://127.0.0.1:9", "SSL_CERT_FILE": "/nowhere/cacert.pem",
        "PREFECT_HOME": "/proc/nowhere", "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nowhere/x.db",
        "PREFECT_SERVER_API_AUTH_STRING": "me:hunter2", "PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_PROFILE": "mine",
    }  # fmt: skip
    done = run(toy.folder, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert WITHOUT not in done.stdout
    seen = json.loads(toy.read("seen"))
    names = ("PREFECT_", "NO_PROXY", "no_proxy", *variables)
    own = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}  # those of all tests
    assert {name: value for name, value in seen.items() if name.startswith(names)} == own | variables


@pytest.mark.farm
def test_clients_of_sqlite_wait_for_each_other(tmp_path: Path) -> None:
    """Several clients that write at the same time are all served; none is told that the database is locked."""
    with RunServer(tmp_path, tmp_path / "home") as server:
        server.wait_until_ready()
        flow = api(str(server.url), "POST", "/flows/", {"name": "load"})["id"]

        def write(_: int) -> set[int]:
            with connect(str(server.url)) as client:
                run = {"flow_id": flow, "state": {"type": "RUNNING"}}
                return {client.post("/flow_runs/", json=run).status_code for _ in range(12)}

        with ThreadPoolExecutor(6) as pool:
            assert set().union(*pool.map(write, range(6))) == {201}


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (200, b"<html>Sign in</html>", "got status 200 and no version"),
        (200, b"true", "got status 200 and no version"),
        (401, b'{"exception_message": "Unauthorized"}', "it refuses the login"),
        (
            403,
            b"not\nused \x1b[1munder this " + b"name" * 400,
            "it refuses the request (status 403): not used under this",
        ),
        (403, b"", "it refuses the request (status 403): it gives no reason; start it"),
        (404, b'{"detail": "Not Found"}', "got status 404 and no version"),
        (502, b"Bad gateway", "got status 502 and no version"),
    ],
)
def test_named_server_is_no_prefect_server(
    diamond: Toy, inkflow: Inkflow, code: int, body: bytes, expected: str
) -> None:
    """What stands at PREFECT_API_URL and is no Prefect server is named in one sentence, before any stage runs."""
    with Server().running() as server:
        server.respond_with(text(code, body))
        done = inkflow("run", folder=diamond.folder, PREFECT_API_URL=f"{server.url}/api")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the Prefect server at {server.url}/api cannot be used: {expected}")
    assert (len(done.stderr.splitlines()), diamond.runs("source")) == (1, 0)


def test_named_server_sends_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that arrives byte by byte is not waited for longer than the limit of the whole check."""
    monkeypatch.setattr(server_check, "TIMEOUT_S", 2.0)
    with Server().running() as server:
        server.respond_with(server.trickle(b"x" * 900, 1.0))  # takes longer than a test may
        with pytest.raises(ServerUnreachable, match="no version"):
            server_check.check_server(f"{server.url}/api")


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("http://192.0.2.1/api", {"HTTP_PROXY": DEAD}, "through the proxy of HTTP_PROXY"),
        ("https://192.0.2.1/api", {"SSL_CERT_FILE": "/nowhere/x.pem"}, "SSL_CERT_FILE=/nowhere/x.pem: No such file"),
        ("http://[nonsense/api", {}, "cannot be used"),
        ("192.0.2.1", {}, "missing an 'http://' or 'https://' protocol"),
    ],
)
def test_variable_is_named(diamond: Toy, inkflow: Inkflow, url: str, variables: dict[str, str], expected: str) -> None:
    """If a named server cannot be reached, the sentence names the variable of the proxy or of the certificates."""
    done = inkflow("run", folder=diamond.folder, PREFECT_API_URL=url, **variables)
    assert done.returncode == 1
    assert expected in done.stderr
    assert (len(done.stderr.splitlines()), diamond.runs("source")) == (1, 0)


def test_persons_defaults_do_not_change_our_flows(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A failed run is Failed, not retried, whatever Prefect's defaults of this person say."""
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "exit 3")})
    defaults = {
        "PREFECT_FLOWS_DEFAULT_RETRIES": "2", "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": "1",
        "PREFECT_TASKS_DEFAULT_RETRIES": "2", "PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS": "600",
        "PREFECT_TASKS_DEFAULT_PERSIST_RESULT": "true", "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": "local-file-system/nowhere",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "pickle",
        "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false", "HTTP_PROXY": DEAD,
    }  # fmt: skip
    done = inkflow("run", "source", folder=diamond.folder, **defaults)
    assert done.returncode == 3, done.stderr
    [flow_run] = api(prefect_url, "POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert (flow_run["state_name"], flow_run["run_count"]) == ("Failed", 1)
    wanted = {"logs": {"flow_run_id": {"any_": [flow_run["id"]]}}}
    wait_until(lambda: any("exit 3" in log["message"] for log in api(prefect_url, "POST", "/logs/filter", wanted)), 60)
    assert not (diamond.folder / ".inkflow/results").exists()


def test_two_temporary_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary servers of two runs in one folder have a home each, with a database each."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    homes = []
    with RunServer(tmp_path) as one, RunServer(tmp_path) as other:
        for server in (one, other):
            with server.settings():
                homes.append(Path(os.environ["PREFECT_HOME"]).name)
    assert homes == ["prefect", "prefect-2"]
    with RunServer(tmp_path) as third, third.settings():
        assert Path(os.environ["PREFECT_HOME"]).name == "prefect"
