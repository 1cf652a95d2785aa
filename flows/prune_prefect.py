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
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from flows.errors import ServerUnreachable
from flows.server import PASSWORD, Server, ensure_answer
from flows.up_settings import ADDRESS, STATE
from stages.errors import InkflowError

DATABASE = "prefect.db"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
PAGE = 100
ANSWER_S = 60.0
BUSY_S = 120.0  # how long a server may say 503, as it does while its SQLite is taken
AGAIN_S = 0.5


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
            count: int = _ask(client, "POST", "/flow_runs/count", flow_runs=wanted).json()
            while not dry_run and (found := _page(client, wanted)):
                for run in found:
                    _ask(client, "DELETE", f"/flow_runs/{run['id']}")
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


def _page(client: httpx.Client, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Some of the flow runs that are left."""
    found: list[dict[str, Any]] = _ask(client, "POST", "/flow_runs/filter", flow_runs=wanted, limit=PAGE).json()
    return found


def _ask(client: httpx.Client, method: str, path: str, **content: object) -> httpx.Response:
    """What the server answers; one that is busy is asked again, for BUSY_S."""
    again = Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(BUSY_S), wait=wait_fixed(AGAIN_S), reraise=True
    )
    return again(lambda: client.request(method, path, json=content or None).raise_for_status())


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
