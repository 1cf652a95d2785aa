"""Old flow runs in the records of `inkflow up`: asked of its server when it runs, else of a temporary one."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.core.errors import ServerUnreachable
from flows.prefect_server.api_client import ask, client
from flows.prefect_server.environment import DATABASE, PASSWORD
from flows.prefect_server.server import Server, ensure_answer
from flows.prefect_server.up_settings import ADDRESS, STATE
from stages.base.errors import InkflowError

FILE = "prefect.db"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
PAGE = 100
OTHERS = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", DATABASE)  # what may name another server's records


@dataclass(frozen=True)
class Records:
    """How many flow runs went; a note when they could not be looked at."""

    flow_runs: int
    note: str | None


def prune_records(root: Path, old: timedelta, dry_run: bool) -> Records:
    """Remove flow runs that ended longer than `old` ago, with their task runs and logs."""
    home = root / STATE
    is_up = _is_up(home / ADDRESS)
    if not is_up and not (home / FILE).exists():
        return Records(0, None)
    before = (datetime.now(UTC) - min(old, timedelta(days=36_500))).isoformat()
    wanted = {"end_time": {"before_": before}, "state": {"type": {"any_": list(ENDED)}}}
    try:
        with _server(root, home, is_up) as server:
            count: int = ask(server, "POST", "/flow_runs/count", flow_runs=wanted).json()
            while not dry_run and (found := _page(server, wanted)):
                for run in found:
                    ask(server, "DELETE", f"/flow_runs/{run['id']}")
    except (httpx.HTTPError, InkflowError) as error:
        return Records(0, f"its records could not be looked at ({error}); start `inkflow up`, then prune again")
    if not (is_up or dry_run):
        with closing(sqlite3.connect(home / FILE)) as database:
            database.execute("VACUUM")
    return Records(count, None)


def _is_up(address: Path) -> bool:
    """Whether `inkflow up` runs: one that was killed left its address."""
    with suppress(OSError, ServerUnreachable):
        ensure_answer(address.read_text(encoding="utf-8").strip())
        return True
    return False


@contextmanager
def _server(root: Path, home: Path, is_up: bool) -> Iterator[httpx.Client]:
    """A client of the server that has the records."""
    named = {name: os.environ.pop(name, None) for name in OTHERS}
    os.environ["PREFECT_HOME"] = str(home)
    try:
        if is_up:
            with _client((home / ADDRESS).read_text(encoding="utf-8").strip(), home) as named_server:
                yield named_server
            return
        with Server(root) as server:
            server.wait_until_ready()
            with _client(str(server.url), home) as ours:
                yield ours
    finally:
        os.environ.pop("PREFECT_HOME")
        os.environ.update({name: value for name, value in named.items() if value is not None})


def _client(url: str, home: Path) -> httpx.Client:
    password = os.environ.get(PASSWORD) or ((home / "auth").read_text().strip() if (home / "auth").exists() else "")
    name, _, secret = password.partition(":")
    return client(url, (name, secret) if password else None)


def _page(server: httpx.Client, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Some of the flow runs that are left."""
    found: list[dict[str, Any]] = ask(server, "POST", "/flow_runs/filter", flow_runs=wanted, limit=PAGE).json()
    return found
