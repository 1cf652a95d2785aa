"""Timing of commands from start to end, both sides of a comparison in turn, and lines of JSON with medians."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
START_S = 300  # of a server, on a busy machine
NO_REPORTS = {"DVC_NO_ANALYTICS": "1"}  # else each `dvc` starts a process that sends one, and takes its time
NO_TARGET = "none asked for: what docs/decisions.md says of it"
WARM_UP = 1  # a first run of each side, which fills the system's file cache, does not count


@dataclass(frozen=True)
class Side:
    """One side of a comparison: `prepare` comes before each run and is not measured; `measure` gives seconds."""

    name: str
    prepare: Callable[[], object]
    measure: Callable[[], float]


def compare(
    what: str, sides: list[Side], runs: int, target: str, *, warm_up: int = WARM_UP, **facts: object
) -> dict[str, object]:
    """Measure the sides in turn `runs` times, print and give their medians with the first one's share of the second.

    In turn, since a busy machine is busy for both then.
    """
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(warm_up + runs):
        for side in sides:
            side.prepare()
            took = side.measure()
            if number >= warm_up:
                seconds[side.name].append(took)
    medians = {name: round(median(values), 3) for name, values in seconds.items()}
    line: dict[str, object] = {"benchmark": what, "runs": runs, "target": target, "seconds": medians}
    line["all"] = {name: [round(value, 3) for value in values] for name, values in seconds.items()}
    if len(sides) > 1:
        pairs = zip(seconds[sides[0].name], seconds[sides[1].name], strict=True)
        line["ratio"] = round(median(mine / other for mine, other in pairs), 3)
    line |= facts
    print(json.dumps(line), flush=True)
    return line


def seconds_of(*command: str, folder: Path, environment: Mapping[str, str] | None = None) -> float:
    """Wall time of a command from its start to its end; RuntimeError with its words when it fails."""
    here = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    here |= NO_REPORTS
    here.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode, and so does ours after a run
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=here | dict(environment or {}), capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return took


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A real Prefect server on loopback; the environment that names it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    home.mkdir()
    settings = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/api"
            _wait_for(url)
            yield settings | {"PREFECT_API_URL": url}
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(url: str) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (OSError, urllib.error.URLError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
