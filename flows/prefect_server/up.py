"""`inkflow up`: Prefect's server, the pools with a worker each, automations and deployments, as long as it runs.

A keeper beside them ends all of it when this process is gone, however it went.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.core.errors import ServerUnreachable
from flows.core.redaction import mask
from flows.prefect_server.environment import DATABASE
from flows.prefect_server.server import ensure_answer
from flows.prefect_server.supervisor import Supervisor
from flows.prefect_server.up_settings import ADDRESS, DEPLOYMENTS, WEBHOOK, Settings, check_deployments, settings
from stages.base.errors import EXIT_DONE, InkflowError, InvalidInput

APP = "flows.prefect_server.same_origin:create_app"  # makes the server that uvicorn serves
START_S = 180.0  # for the server, on a busy machine, with a new database
POLL_S = 0.5


def up(arguments: argparse.Namespace) -> int:
    """Start all of it and stay until somebody ends it; the exit code.

    Raises:
        InvalidInput: an argument, prefect.yaml, execution.yaml or a template cannot be used.
        InkflowError: the port is taken, the database does not answer, or a process does not stay up.
    """
    root = Path().resolve()
    ended = _asked_to_end()
    with _only_one(root):
        told = settings(arguments, root)
        for name in (DATABASE, WEBHOOK):  # for the server, and for one of its secret blocks: not for runs
            os.environ.pop(name, None)
        (told.home / ADDRESS).unlink(missing_ok=True)
        with Supervisor(root, told.home) as family:
            server = family.add("server", _server(told), told.for_server())
            _say(f"Starting Prefect's server at {told.page} ...")
            _wait_for_server(told, family, ended)
            if not ended.is_set():
                pools = _furnish(told, family)
                _say(_welcome(told, pools, server.log))
                (told.home / ADDRESS).write_text(told.api, encoding="utf-8")
            while not ended.wait(POLL_S):
                for name in family.restarted():
                    _say(f"{name} had died, and was started again")
            _say("Ending all of it ...")
            (told.home / ADDRESS).unlink(missing_ok=True)
    _say(f"Down. What it knows is in {told.home.relative_to(root)}, for the next time.")
    return EXIT_DONE


def _asked_to_end() -> threading.Event:
    """Set by Ctrl-C, a request to end, or the end of the terminal."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    return ended


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Be the only one in this folder; the system lets go of it however we end."""
    path = root / ".inkflow" / "up.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InkflowError(f"`inkflow up` runs already in {root}; end that one first") from error
        yield


def _server(told: Settings) -> list[str]:
    return [
        "uvicorn", "--factory", APP, "--host", told.host, "--port", str(told.port),
        "--log-level", "warning", "--lifespan", "on", "--timeout-graceful-shutdown", "3",
    ]  # fmt: skip


def _wait_for_server(told: Settings, family: Supervisor, ended: threading.Event) -> None:
    for _ in range(int(START_S / POLL_S)):
        if ended.wait(POLL_S):
            return
        try:
            ensure_answer(told.api)
            return
        except ServerUnreachable:
            family.restarted()
    raise InkflowError(f"Prefect's server does not answer after {START_S:g} s; its log is {told.home / 'server.log'}")


def _furnish(told: Settings, family: Supervisor) -> list[str]:
    """Pools, workers, automations and deployments; the pools' names."""
    os.environ.update(told.for_clients())  # Prefect reads them when it is imported, as follows
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    from prefect import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    from flows.prefect_server import automations, pools

    names = pools.pools(told.root, check_deployments(told.root))
    try:
        with get_client(sync_client=True) as client:
            for name in names:
                pools.create(client, told.root, name)
                words = ["prefect", "worker", "start", "--pool", name, "--type", "process", "--name", f"{name} of up"]
                family.add(f"worker-{name}", words, told.for_clients())
            automations.set_up(client, told.webhook)
    except PrefectHTTPStatusError as error:
        raise InkflowError(f"Prefect's server refused: {mask(' '.join(str(error).split()))}") from error
    _deploy(told, family)
    return names


def _deploy(told: Settings, family: Supervisor) -> None:
    """`prefect deploy --all`.

    Raises:
        InvalidInput: prefect.yaml cannot be deployed; the message is Prefect's.
    """
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=told.root,
        env=os.environ | told.for_clients() | family.environment() | {"COLUMNS": "500", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip(" \t│╭╰─╮╯")]
        raise InvalidInput(f"{DEPLOYMENTS} cannot be deployed: {mask(said[-1] if said else 'Prefect said nothing')}")


def _welcome(told: Settings, pools: Sequence[str], log: Path) -> str:
    lines = [
        "",
        f"Prefect's page:  {told.page}",
        f"Pools:           {', '.join(pools)}, with a worker each; logs are in {log.parent.relative_to(told.root)}",
        f"Webhook:         {'called when a nightly run goes wrong' if told.webhook else 'none; --webhook URL'}",
    ]
    if told.password:
        lines.append(f"Password:        {_where_password(told)}")
    lines += ["", "In another terminal:", f"  export PREFECT_API_URL={told.api}"]
    if told.password:
        lines.append(f"  export PREFECT_API_AUTH_STRING={_how_password(told)}")
    lines += [
        "  prefect deployment run inkflow/nightly --watch    # now instead of at 2 in the morning",
        "  inkflow run                                       # the same job from here, on the same page",
        "",
        "Ctrl-C ends all of it.",
    ]
    return "\n".join(lines)


def _where_password(told: Settings) -> str:
    path = told.home / "auth"
    if path.exists() and path.read_text(encoding="utf-8").strip() == told.password:
        return f"in {path.relative_to(told.root)}, for this user alone; the page asks for the whole line"
    return "the one of PREFECT_SERVER_API_AUTH_STRING"


def _how_password(told: Settings) -> str:
    named = _where_password(told).startswith("in ")
    return '"$(cat .inkflow/up/auth)"' if named else '"$PREFECT_SERVER_API_AUTH_STRING"'


def _say(text: str) -> None:
    print(text, flush=True)
