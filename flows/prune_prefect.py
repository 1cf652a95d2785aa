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

from flows.errors import ServerUnreachable
from flows.server import PASSWORD, Server, ensure_answer
from flows.up_settings import ADDRESS, STATE
from stages.errors import InkflowError

DATABASE = "prefect.db"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
PAGE = 100
ANSWER_S = 60.0


@dataclass(frozen=True)
class Records:
    """How many flow runs went; a note when they could not be looked at."""

    flow_runs: int
    note: str | None


def prune_records(root: Path, old: timedelta, dry_run: bool) -> Records:
    """Remove flow runs that ended longer than `old` ago, with their task runs and logs."""
    home = root / STATE
    is_up = _is_up(home / ADDRESS)
    if not is_up and not (home / DATABASE).exists():
        return Records(0, None)
    before = (datetime.now(UTC) - min(old, timedelta(days=36_500))).isoformat()
    wanted = {"end_time": {"before_": before}, "state": {"type": {"any_": list(ENDED)}}}
    try:
        with _server(root, home, is_up) as client:
            count: int = _post(client, "/flow_runs/count", {"flow_runs": wanted})
            while not dry_run and (found := _post(client, "/flow_runs/filter", {"flow_runs": wanted, "limit": PAGE})):
                for run in found:
                    client.delete(f"/flow_runs/{run['id']}").raise_for_status()
    except (httpx.HTTPError, InkflowError) as error:
        return Records(0, f"its records could not be looked at ({error}); start `inkflow up`, then prune again")
    if not (is_up or dry_run):
        with closing(sqlite3.connect(home / DATABASE)) as database:
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
    named = {name: os.environ.pop(name, None) for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE")}
    os.environ["PREFECT_HOME"] = str(home)
    try:
        if is_up:
            with _client((home / ADDRESS).read_text(encoding="utf-8").strip(), home) as client:
                yield client
            return
        with Server(root) as server:
            server.wait_until_ready()
            with _client(str(server.url), home) as client:
                yield client
    finally:
        os.environ.pop("PREFECT_HOME")
        os.environ.update({name: value for name, value in named.items() if value is not None})


def _client(url: str, home: Path) -> httpx.Client:
    password = os.environ.get(PASSWORD) or ((home / "auth").read_text().strip() if (home / "auth").exists() else "")
    name, _, secret = password.partition(":")
    return httpx.Client(base_url=url, auth=(name, secret) if password else None, timeout=ANSWER_S)


def _post(client: httpx.Client, path: str, content: dict[str, Any]) -> Any:
    return client.post(path, json=content).raise_for_status().json()
