"""Removal of old flow runs from the databases of `inkflow up` and of temporary servers, through a server."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.core.errors import ServerUnreachable
from flows.prefect_server.api_client import connect, request
from flows.prefect_server.credentials import ADDRESS_FILE, AUTH_FILE, HOME, LOCK, is_running
from flows.prefect_server.database import DATABASE_FILE
from flows.prefect_server.environment import PASSWORD
from flows.prefect_server.server import HOME as RUN_HOME
from flows.prefect_server.server import HOME_LOCK, Server
from flows.prefect_server.server_check import check_health
from stages.base.errors import InkflowError

FINAL_STATES = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


@dataclass(frozen=True)
class PrunedFlowRuns:
    """The number of flow runs that were removed; a note if an error or a run prevented more."""

    flow_runs: int
    note: str | None


def prune_flow_runs(
    root: Path, age: timedelta, dry_run: bool, log: Callable[[str], None] = lambda _: None
) -> PrunedFlowRuns:
    """Removes flow runs that ended longer than `age` ago, with their task runs and logs; `dry_run` only counts them.

    All databases of the project are pruned: that of `inkflow up`, and those of the temporary servers, of which runs at
    the same time have one each. A database that another process uses stays as it is. `log` is called with the progress.
    """
    before = (datetime.now(UTC) - min(age, timedelta(days=36_500))).isoformat()
    run_filter = {"end_time": {"before_": before}, "state": {"type": {"any_": list(FINAL_STATES)}}}
    count, busy = 0, []
    temporary = [root / RUN_HOME, *sorted(root.glob(f"{RUN_HOME}-*"))]
    for home, url in ((root / HOME, _running_url(root)), *((home, None) for home in temporary)):
        if url is None and not (home / DATABASE_FILE).exists():
            continue
        try:
            with _held(root, home, url) as is_held:
                if not is_held:
                    busy.append(str(home.relative_to(root)))
                    continue
                with _api_client(root, home, url) as client:
                    found: int = request(client, "POST", "/flow_runs/count", flow_runs=run_filter).json()
                    if not dry_run:
                        _delete(client, run_filter, found, log)
                count += found
                if url is None and not dry_run:
                    _compact(home / DATABASE_FILE)
        except (httpx.HTTPError, InkflowError) as error:
            note = f"the flow runs could not be pruned ({error}); repair the server or its database, then prune again"
            return PrunedFlowRuns(count, note)
    note = f"those in {', '.join(busy)} stay, since another process uses the database; prune again later"
    return PrunedFlowRuns(count, note if busy else None)


@contextmanager
def _held(root: Path, home: Path, url: str | None) -> Iterator[bool]:
    """Holds the locks of the database in `home`; yields False if another process uses it.

    A run takes another home meanwhile, and `inkflow up` does not start. Without a lock if the server at `url` has it.
    """
    locks = [] if url else [(home / HOME_LOCK, fcntl.LOCK_EX)]
    if locks and home == root / HOME:
        locks.append((root / LOCK, fcntl.LOCK_SH))  # shared: for others, `inkflow up` does not run
    with ExitStack() as held:
        try:
            for path, kind in locks:
                fcntl.flock(held.enter_context(path.open("a+")), kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _delete(client: httpx.Client, run_filter: dict[str, Any], count: int, log: Callable[[str], None]) -> None:
    """Deletes the runs in batches: one transaction for each, so that the server can write in between."""
    done = 0
    while deleted := request(client, "POST", "/flow_runs/bulk_delete", flow_runs=run_filter).json()["deleted"]:
        done += len(deleted)
        if done < count:
            log(f"Prefect: {done} of {count} flow runs removed ...")


def _compact(database_file: Path) -> None:
    """Removes the logs of deleted runs, which the server has only planned, and frees the space of the file."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database_file)) as database:  # else at the next prune
        database.execute("DELETE FROM log WHERE flow_run_id NOT IN (SELECT id FROM flow_run)")
        database.commit()
        database.execute("VACUUM")


def _running_url(root: Path) -> str | None:
    """Returns the API URL of the running `inkflow up`, None if none runs: one that was killed leaves its file."""
    with suppress(OSError, ServerUnreachable):
        if is_running(root):
            url = (root / HOME / ADDRESS_FILE).read_text(encoding="utf-8").strip()
            check_health(url)
            return url
    return None


@contextmanager
def _api_client(root: Path, home: Path, url: str | None) -> Iterator[httpx.Client]:
    """Yields a client of the server at `url`, or of a temporary server on the database in `home`."""
    with ExitStack() as stack:
        if url is None:
            server = stack.enter_context(Server(root, home))
            server.wait_until_ready()
            url = str(server.url)
        yield stack.enter_context(connect(url, _credentials(home)))


def _credentials(home: Path) -> tuple[str, str] | None:
    path = home / AUTH_FILE
    password = os.environ.get(PASSWORD) or (path.read_text().strip() if path.exists() else "")
    name, _, secret = password.partition(":")
    return (name, secret) if password else None
