"""Requests that Prefect's server on SQLite refuses while several clients write: Prefect's own server, and ours.

    python -m benchmarks.sqlite [--clients 6] [--seconds 40]

Each client makes flow runs as a worker and a run do: a run, three states, and logs. Both servers are measured one
after the other, each on a new database. A status of 503 is SQLite's `database is locked`.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks import common
from flows.prefect_server.environment import HOSTS, ORIGINS
from tests.flows.workers.services import PrefectServer

OURS = "flows.prefect_server.same_origin:create_app"
STATES = ("PENDING", "RUNNING", "COMPLETED")
CLOSED = 0  # in the place of a status
LOGS = 20  # lines of a run, sent together


class OurServer(PrefectServer):
    """The server of `inkflow up`, without its password."""

    def __init__(self, folder: Path, database: str) -> None:
        names = {HOSTS: "127.0.0.1", ORIGINS: "http://127.0.0.1"}
        super().__init__(folder, database, names | {"PYTHONPATH": str(common.ROOT)})
        port = self.url.removesuffix("/api").rpartition(":")[2]
        self._command = [sys.executable, "-m", "uvicorn", "--factory", OURS, "--host", "127.0.0.1", "--port", port]


def write_runs(url: str, flow: str, end: float) -> tuple[Counter[int], int, float]:
    """Make runs of `flow` until `end`; the statuses of the answers, finished runs, and the slowest request in s."""
    statuses, runs, slowest = Counter[int](), 0, 0.0
    with httpx.Client(base_url=url, timeout=60) as client:

        def post(path: str, body: Any) -> httpx.Response | None:
            nonlocal slowest
            start = time.monotonic()
            try:
                answer = client.post(path, json=body)
            except httpx.TransportError:  # the server closed the connection
                statuses[CLOSED] += 1
                return None
            slowest = max(slowest, time.monotonic() - start)
            statuses[answer.status_code] += 1
            return answer if answer.is_success else None

        while time.monotonic() < end:
            made = post("/flow_runs/", {"flow_id": flow, "state": {"type": "SCHEDULED"}})
            if made is None:
                continue
            run = made.json()["id"]
            answers = [post(f"/flow_runs/{run}/set_state", {"state": {"type": state}}) for state in STATES]
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            line = {"name": "benchmark", "level": 20, "message": "a line", "timestamp": stamp, "flow_run_id": run}
            answers.append(post("/logs/", [line] * LOGS))
            runs += None not in answers
    return statuses, runs, slowest


def measure(server: PrefectServer, clients: int, seconds: float) -> str:
    """What `clients` that write at the same time get from `server`, in words."""
    with server.running():
        made = httpx.post(f"{server.url}/flows/", json={"name": "benchmark"}, timeout=60).raise_for_status()
        flow, end = made.json()["id"], time.monotonic() + seconds
        with ThreadPoolExecutor(clients) as pool:
            results = list(pool.map(lambda _: write_runs(server.url, flow, end), range(clients)))
    statuses = sum((result[0] for result in results), Counter[int]())
    return (
        f"{statuses.total()} requests, {statuses[503]} answered 503, {statuses[CLOSED]} connections closed, "
        f"{sum(result[1] for result in results)} runs made, "
        f"slowest request {max(result[2] for result in results):.1f} s"
    )


def main() -> None:
    """Measure both servers and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=40)
    given = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, server in (("prefect_server", PrefectServer), ("inkflow_up", OurServer)):
            database = f"sqlite+aiosqlite:///{name}/{kind}.db"
            results[kind] = measure(server(Path(name) / kind, database), given.clients, given.seconds)
    common.report(
        f"{given.clients} clients write for {given.seconds:g} s to a server on SQLite",
        "no request answered 503",
        runs=1,
        **results,
    )


if __name__ == "__main__":
    main()
