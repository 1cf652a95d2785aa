"""`inkflow up`: runs Prefect's server, the work pools with a worker each, automations and deployments until Ctrl-C.

A watchdog terminates all of them if this process is killed.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flows.core.code_path import CODE
from flows.core.errors import ServerUnreachable
from flows.core.project import make_state_folder
from flows.core.redaction import mask, say_if_possible
from flows.core.signals import handle_termination
from flows.engine.policy import load_policies
from flows.engine.processes.process_trees import terminate_trees
from flows.prefect_server.api_client import ServerLost, prefect_client
from flows.prefect_server.crashes import end_message, forget_stop, note_stop
from flows.prefect_server.credentials import ADDRESS_FILE, HOME, LOCK, PAGE_FILE, password_hints, write_page
from flows.prefect_server.database import DATABASE_FILE
from flows.prefect_server.environment import DATABASE, OLD_DATABASE, loopback_variables, variables_set
from flows.prefect_server.notifications.notifier import Notifier
from flows.prefect_server.notifications.receivers import NOTIFY, Receiver, Webhook, open_receiver, shown
from flows.prefect_server.server_check import check_health
from flows.prefect_server.supervisor import Supervisor
from flows.prefect_server.up_settings import DEPLOYMENTS, WEBHOOK, Settings, read_deployments, read_settings
from stages.base.errors import EXIT_DONE, InkflowError, InvalidInput

if TYPE_CHECKING:  # the import of Prefect takes two seconds
    from prefect.client.schemas.objects import FlowRun

T = TypeVar("T")
APP = "flows.prefect_server.same_origin:create_app"
START_TIMEOUT_S = 180.0  # of the server, on a busy machine, with a new database
POLL_S = 0.5
NOTIFIED = "notified.json"  # in HOME: what the webhook was told
QUIET = {"PREFECT_LOGGING_LEVEL": "ERROR"}  # for processes that start no run
PLAIN = {"COLUMNS": "500", "NO_COLOR": "1"}


def up(arguments: argparse.Namespace) -> int:
    """Starts the server, workers and deployments, waits for a signal to stop, and returns the exit code.

    Raises:
        InvalidInput: An argument, prefect.yaml, execution.yaml or a template cannot be used.
        InkflowError: The port is taken, the database does not respond, or a process does not stay up.
    """
    root = Path().resolve()
    stop, are_marked = _stop_event(), False
    with _lock(root), variables_set(loopback_variables(arguments.host)):
        settings = read_settings(arguments, root)
        address = settings.home / ADDRESS_FILE
        address.unlink(missing_ok=True)
        # Secrets for the server and for this process, not for runs.
        hidden = variables_set(dict.fromkeys((DATABASE, OLD_DATABASE, WEBHOOK, NOTIFY)))
        with hidden, Supervisor(root, settings.home) as supervisor, _notifications(settings) as notify:
            started = datetime.now(UTC)
            supervisor.add("server", _server_arguments(settings), settings.server_environment())
            say_if_possible(f"Starting Prefect's server at {settings.ui_url} ...")
            _wait_for_server(settings, supervisor, stop)
            if not stop.is_set():
                take = partial(_take_step, settings, supervisor, stop)
                pools, dead_runs = take(lambda: _start_workers(settings, supervisor, started))
                take(notify)
                take(lambda: _deploy(settings, supervisor, stop))
                if are_marked := not stop.is_set():  # else the next start does: this server ends before it starts them
                    take(lambda: _mark_dead_runs(dead_runs, settings.home))
                say_if_possible(take(lambda: _instructions(settings, pools)))
                address.write_text(settings.api_url, encoding="utf-8")
                page = write_page(settings.home, settings.ui_url, settings.password)
                if arguments.open and not webbrowser.open(page.as_uri()):
                    say_if_possible(f"no browser could be started here; open {HOME / PAGE_FILE} yourself")
            while not stop.wait(POLL_S):
                for name in supervisor.restart_dead():
                    say_if_possible(f"{name} died and was restarted")
            if are_marked:  # else the runs of an earlier one, which may have died, would count as stopped
                note_stop(settings.home)  # first: a terminal that is stopped holds up the line
            say_if_possible("Stopping ...")
            address.unlink(missing_ok=True)
            (settings.home / PAGE_FILE).unlink(missing_ok=True)
    say_if_possible(f"Stopped. The database and the logs stay in {HOME} for the next start.")
    return EXIT_DONE


def _stop_event() -> threading.Event:
    """Returns an event that Ctrl-C, SIGTERM and, without `nohup`, the end of the terminal set."""
    stop = threading.Event()
    handle_termination(lambda *_: stop.set())
    return stop


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Holds the lock of `inkflow up` in `root`; the system releases it even if this process is killed."""
    path = root / LOCK
    make_state_folder(root)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InkflowError(
                f"`inkflow up` already runs in {root}; stop that one first, or wait for the `inkflow prune` that reads "
                "its database"
            ) from error
        yield


def _server_arguments(settings: Settings) -> list[str]:
    return [
        "uvicorn", "--app-dir", str(CODE), "--factory", APP, "--host", settings.host, "--port", str(settings.port),
        "--log-level", "warning", "--lifespan", "on", "--timeout-graceful-shutdown", "3",
    ]  # fmt: skip


def _wait_for_server(settings: Settings, supervisor: Supervisor, stop: threading.Event) -> None:
    remedy = (
        "" if settings.database else f"; if each start ends so, rename the database {settings.home / DATABASE_FILE}"
    )
    for _ in range(int(START_TIMEOUT_S / POLL_S)):
        if stop.wait(POLL_S):
            return
        try:
            check_health(settings.api_url)
            return
        except ServerUnreachable:
            try:
                supervisor.restart_dead()
            except InkflowError as error:
                raise InkflowError(f"{error}{remedy}") from error
    log = settings.home / "server.log"
    raise InkflowError(f"Prefect's server does not respond after {START_TIMEOUT_S:g} s; its log is {log}{remedy}")


def _take_step(settings: Settings, supervisor: Supervisor, stop: threading.Event, step: Callable[[], T]) -> T:
    """Returns the result of `step`; if the server has died meanwhile, waits until it is restarted, and repeats `step`.

    Raises:
        InkflowError: A step failed, or the server died again.
    """
    try:
        return step()
    except ServerLost:
        _wait_for_server(settings, supervisor, stop)
        return step()


def _start_workers(settings: Settings, supervisor: Supervisor, started: datetime) -> tuple[list[str], list["FlowRun"]]:
    """Creates the pools and automations, and starts a worker for each pool.

    Returns:
        The names of the pools, and the runs that ended with an earlier `inkflow up`; the server started at `started`.
    """
    environment = settings.client_environment()
    with variables_set(environment | QUIET):  # Prefect reads its settings here; workers and runs do not inherit them
        from flows.prefect_server.automations import set_up_automations
        from flows.prefect_server.dead_runs import find_dead_runs, worker_name
        from flows.prefect_server.pools import create_pool, pool_names, set_limits

        names = pool_names(settings.root, read_deployments(settings.root))
        with prefect_client() as client:
            for name in names:
                create_pool(client, settings.root, name)
            for name, limits in load_policies(settings.root).pools.items():
                set_limits(client, name, limits)
            dead_runs = find_dead_runs(client, settings.root, names, started)
            set_up_automations(client)
    environment = settings.worker_environment()
    for name in names:
        worker = ["inkflow.flows.workers.pool_worker", "worker", "start", "--pool", name, "--type", "process"]
        supervisor.add(f"worker-{name}", [*worker, "--name", worker_name(settings.root, name)], environment)
    return names, dead_runs


def _deploy(settings: Settings, supervisor: Supervisor, stop: threading.Event) -> None:
    """Runs `prefect deploy --all` with what a person has set on Prefect's page, until `stop` is set.

    Raises:
        InvalidInput: prefect.yaml cannot be deployed; the message is Prefect's.
    """
    from flows.prefect_server.deployments import finish_deployments, write_deployments

    with prefect_client() as client:
        file = write_deployments(client, settings.root, settings.home)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
            cwd=settings.root,
            env=os.environ | settings.client_environment() | supervisor.environment | QUIET | PLAIN,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        while process.poll() is None:  # a build step of prefect.yaml may wait for ever
            if stop.wait(POLL_S):
                terminate_trees([process.pid])
                process.wait()
                return
            supervisor.restart_dead()
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        lines = [line.strip() for line in text.splitlines() if line.strip(" \t│╭╰─╮╯")]
        raise InvalidInput(
            f"{DEPLOYMENTS} cannot be deployed: {mask(lines[-1] if lines else 'Prefect gave no reason')}"
        )
    with prefect_client() as client:
        finish_deployments(client, settings.root, settings.home)


def _mark_dead_runs(runs: Sequence["FlowRun"], home: Path) -> None:
    """Marks the runs that ended with an earlier `inkflow up`; the deployments are there that start them again."""
    from flows.prefect_server.dead_runs import mark_dead_runs

    with prefect_client() as client:
        if names := mark_dead_runs(client, runs, end_message(home)):
            say_if_possible(f"Ended with an earlier `inkflow up`, now marked as crashed: {', '.join(names)}")
    forget_stop(home)


@contextmanager
def _notifications(settings: Settings) -> Iterator[Callable[[], None]]:
    """Yields the function that starts the notifier, once Prefect is imported and its server has the blocks.

    The notifier is made before: it posts what happens from now on.
    """
    if not settings.webhook and not settings.notify:
        (settings.home / NOTIFIED).unlink(missing_ok=True)  # else a later start with --notify would tell all until then
        yield lambda: None
        return
    notifier = Notifier(settings.api_url, settings.password, settings.home / NOTIFIED)
    receivers: list[Receiver] = [Webhook(settings.webhook)] if settings.webhook else []

    def start() -> None:
        with prefect_client():
            notifier.set_receivers([*receivers, *map(open_receiver, settings.notify)])
        notifier.start()

    try:
        yield start
    finally:
        notifier.stop()


def _instructions(settings: Settings, pools: Sequence[str]) -> str:
    """Returns the text that tells the user where everything is, once it runs."""
    from flows.prefect_server.deployments import run_commands

    password, export = password_hints(settings.root, settings.password)
    with prefect_client() as client:
        commands = run_commands(client, settings.root)
    told = [*(["the webhook"] if settings.webhook else []), *map(shown, settings.notify)]
    messages = f"to {', '.join(told)}, when an unattended run fails" if told else "none; set --webhook or --notify"
    return "\n".join(
        [
            "",
            f"Prefect's page:  {settings.ui_url}; {HOME / PAGE_FILE} opens it with the password, as --open does",
            f"Pools:           {', '.join(pools)}, with a worker each; the logs are in {HOME}",
            f"Messages:        {messages}",
            *password,
            "",
            "In another terminal:",
            f"  export PREFECT_API_URL={settings.api_url}",
            *export,
            *commands,
            "",
            "Ctrl-C ends the server, the workers and their runs.",
        ]
    )
