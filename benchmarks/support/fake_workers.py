"""Many workers of a pool in one process, which compute nothing: what they send to the server and the remote is real.

    python -m benchmarks.support.fake_workers --workers 100 --pool gpu --content TEXT

Each looks for runs, takes them, reports on them every three seconds and puts a result into the DVC remote, with the
requests of Prefect's worker and of `flows.train_stage`. All stages have one output, with the same content.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from flows.workers.stage_report import ARTIFACT_TYPE, HEARTBEAT_S, STAGE_LOGGER, ExitStatus, Report

QUERY_S = 10.0  # between two looks for runs: Prefect's default
WORKER_HEARTBEAT_S = 30.0
TRIES = 10
KEEP_S = 2.0  # for which an unused connection is kept; the server closes it after five seconds


class FakeWorker:
    """One worker, which has one run at a time."""

    def __init__(self, client: httpx.AsyncClient, name: str, options: argparse.Namespace) -> None:
        self._client, self._name, self._options = client, name, options

    async def work(self, delay_s: float) -> None:
        """Take runs until the process ends, from `delay_s` on: workers do not look for runs at the same moment."""
        await asyncio.sleep(delay_s)
        pool = f"/work_pools/{self._options.pool}"
        beat_at = -WORKER_HEARTBEAT_S
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= beat_at + WORKER_HEARTBEAT_S:
                beat_at = loop.time()
                await self._post(f"{pool}/workers/heartbeat", name=self._name, heartbeat_interval_seconds=30)
            found = await self._post(f"{pool}/get_scheduled_flow_runs", limit=1)
            for entry in found or []:
                if await self._set_state(entry["flow_run"]["id"], "PENDING"):
                    await self._execute(entry["flow_run"])
            if not found:
                await asyncio.sleep(QUERY_S)

    async def _execute(self, run: dict[str, Any]) -> None:
        """Do all that is seen of a run from outside."""
        order = run["parameters"]["order"]
        for path in (f"/deployments/{run['deployment_id']}", f"/flows/{run['flow_id']}", f"/flow_runs/{run['id']}"):
            await self._request("GET", path)
        await self._set_state(run["id"], "RUNNING")
        report = Report(self._name, order["stage"], "running")
        artifact = await self._post("/artifacts/", type=ARTIFACT_TYPE, data=report.to_table(), flow_run_id=run["id"])
        ends = asyncio.get_running_loop().time() + self._options.seconds
        while (left_s := ends - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(HEARTBEAT_S, left_s))
            await self._send_report(artifact["id"], Report(self._name, order["stage"], "running", beat=int(left_s)))
            await self._request("GET", f"/flow_runs/{run['id']}")
        put_result(order, self._options.content)
        line = {"name": f"prefect.flow_runs.{STAGE_LOGGER}", "level": 20, "message": "done", "flow_run_id": run["id"]}
        await self._post("/logs/", [line | {"timestamp": _now()}])
        done = Report(self._name, order["stage"], "", beat=-1, ending=ExitStatus.DONE)
        await self._send_report(artifact["id"], done)
        await self._set_state(run["id"], "COMPLETED")

    async def _send_report(self, artifact: str, report: Report) -> None:
        await self._request("PATCH", f"/artifacts/{artifact}", {"data": report.to_table()})

    async def _set_state(self, run: str, state: str) -> bool:
        """Propose a state; False if the server rejects it, as when another worker was faster."""
        answer = await self._post(f"/flow_runs/{run}/set_state", state={"type": state, "name": state.capitalize()})
        return bool(answer["status"] == "ACCEPT")

    async def _post(self, path: str, body: Any = None, **content: Any) -> Any:
        return await self._request("POST", path, content if body is None else body)

    async def _request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, again after a lost connection as Prefect's client does; the JSON of the answer."""
        for _ in range(TRIES):
            with contextlib.suppress(httpx.TransportError):
                answer = (await self._client.request(method, path, json=body)).raise_for_status()
                return answer.json() if answer.content else None
            await asyncio.sleep(1)
        raise RuntimeError(f"{method} {path} got no answer in {TRIES} attempts")


def put_result(order: dict[str, Any], content: str) -> None:
    """Put the output of a stage and its entry of the run cache into the remote of `order`, as a worker does."""
    remote = Path(next(iter(order["remote_folder"].values())))
    stage = order["stage"].partition("@")[2]
    digests = {name: _md5(Path(order["source"], name).read_text()) for name in ("in", "p")}
    entry: dict[str, Any] = {
        "cmd": f"cat in p > out-{stage}",
        "deps": [{"path": name, "hash": "md5", **digest} for name, digest in digests.items()],
        "outs": [{"path": f"out-{stage}", "hash": "md5", **_md5(content)}],
    }
    if _digest(entry | {"outs": [f"out-{stage}"]}) != order["run_key"]:
        raise ValueError(f"{order['stage']}: got another run key than that of the command and inputs of this benchmark")
    value = entry["outs"][0]["md5"]
    _put(remote / "files" / "md5" / value[:2] / value[2:], content)
    folder = remote / "runs" / order["run_key"][:2] / order["run_key"]
    _put(folder / _digest(entry), json.dumps(entry))  # JSON is YAML, in which DVC writes it


def _md5(content: str) -> dict[str, Any]:
    return {"md5": hashlib.md5(content.encode(), usedforsecurity=False).hexdigest(), "size": len(content)}


def _digest(entry: dict[str, Any]) -> str:
    """DVC's digest of an entry of the run cache, which leaves out the sizes."""

    def without_sizes(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_sizes(item) for key, item in value.items() if key != "size"}
        return [without_sizes(item) for item in value] if isinstance(value, list) else value

    return hashlib.sha256(json.dumps(without_sizes(entry), sort_keys=True).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _put(path: Path, content: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4()}")
        temporary.write_text(content)
        temporary.replace(path)


async def work_all(options: argparse.Namespace) -> None:
    """Run the workers until the process ends."""
    limits = httpx.Limits(
        max_connections=options.workers, max_keepalive_connections=options.workers, keepalive_expiry=KEEP_S
    )
    url = os.environ["PREFECT_API_URL"]
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False) as client:
        delays = [QUERY_S * number / options.workers for number in range(options.workers)]
        workers = [FakeWorker(client, f"worker-{number}", options) for number in range(options.workers)]
        await asyncio.gather(*(worker.work(delay) for worker, delay in zip(workers, delays, strict=True)))


def main() -> None:
    """Run the workers of the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--content", required=True, help="content of each output")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a stage")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work_all(parser.parse_args()))


if __name__ == "__main__":
    main()
