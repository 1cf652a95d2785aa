"""Removal of old flow runs from the database of `inkflow up`, through its server or a temporary one."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.core.errors import ServerUnreachable
from flows.prefect_server.api_client import connect, request
from flows.prefect_server.credentials import ADDRESS_FILE, AUTH_FILE, HOME
from flows.prefect_server.environment import DATABASE, PASSWORD
from flows.prefect_server.server import Server, check_health
from stages.base.errors import InkflowError

DATABASE_FILE = "prefect.db"
FINAL_STATES = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
PAGE_SIZE = 100
OTHER_SERVERS = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", DATABASE)  # each may select another database


@dataclass(frozen=True)
class PrunedFlowRuns:
    """The number of flow runs that were removed; a note if an error prevented it."""

    flow_runs: int
    note: str | None


def prune_flow_runs(root: Path, age: timedelta, dry_run: bool) -> PrunedFlowRuns:
    """Removes flow runs that ended longer than `age` ago, with their task runs and logs; `dry_run` only counts them."""
    home = root / HOME
    url = _running_url(home / ADDRESS_FILE)
    if url is None and not (home / DATABASE_FILE).exists():
        return PrunedFlowRuns(0, None)
    before = (datetime.now(UTC) - min(age, timedelta(days=36_500))).isoformat()
    run_filter = {"end_time": {"before_": before}, "state": {"type": {"any_": list(FINAL_STATES)}}}
    try:
        with _api_client(root, home, url) as client:
            count: int = request(client, "POST", "/flow_runs/count", flow_runs=run_filter).json()
            while not dry_run and (runs := _first_page(client, run_filter)):
                for run in runs:
                    request(client, "DELETE", f"/flow_runs/{run['id']}")
    except (httpx.HTTPError, InkflowError) as error:
        return PrunedFlowRuns(0, f"the flow runs could not be pruned ({error}); start `inkflow up`, then prune again")
    if url is None and not dry_run:
        with closing(sqlite3.connect(home / DATABASE_FILE)) as database:
            database.execute("VACUUM")
    return PrunedFlowRuns(count, None)


def _running_url(address: Path) -> str | None:
    """Returns the API URL of the running `inkflow up`, None if none runs: one that was killed leaves its file."""
    with suppress(OSError, ServerUnreachable):
        url = address.read_text(encoding="utf-8").strip()
        check_health(url)
        return url
    return None


@contextmanager
def _api_client(root: Path, home: Path, url: str | None) -> Iterator[httpx.Client]:
    """Yields a client of the server at `url`, or of a temporary server on the database in `home`."""
    saved = {name: os.environ.pop(name, None) for name in OTHER_SERVERS}
    os.environ["PREFECT_HOME"] = str(home)
    try:
        with ExitStack() as stack:
            if url is None:
                server = stack.enter_context(Server(root))
                server.wait_until_ready()
                url = str(server.url)
            yield stack.enter_context(connect(url, _credentials(home)))
    finally:
        os.environ.pop("PREFECT_HOME")
        os.environ.update({name: value for name, value in saved.items() if value is not None})


def _credentials(home: Path) -> tuple[str, str] | None:
    path = home / AUTH_FILE
    password = os.environ.get(PASSWORD) or (path.read_text().strip() if path.exists() else "")
    name, _, secret = password.partition(":")
    return (name, secret) if password else None


def _first_page(client: httpx.Client, run_filter: dict[str, Any]) -> list[dict[str, Any]]:
    response = request(client, "POST", "/flow_runs/filter", flow_runs=run_filter, limit=PAGE_SIZE)
    runs: list[dict[str, Any]] = response.json()
    return runs
