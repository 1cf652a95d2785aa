"""30 stages of 5 s over 4 workers of a pool, as far from the ideal as dispatching makes them; and the same one by one.

    python -m benchmarks.dispatch

The ideal is 30 x 5 s / 4, counted from when the first stage computes until the last one has. Workers, server and
orchestrator share this machine: processor seconds are told too, since they are what separates it from four machines.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from ruamel.yaml import YAML

from benchmarks.support.measure import ROOT, seconds_of
from tests.flows.workers.services import PrefectServer
from tests.support.postgres import running_postgres

INKFLOW = (sys.executable, "-P", "-m", "flows", "run")
GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost")
POOL = "gpu"
STAGES = """
stages:
  step:
    foreach: [{names}]
    do:
      cmd: date +%s.%N > began-${{item}}; sleep {seconds}; cat in > out-${{item}}; date +%s.%N > ended-${{item}}
      deps: [in]
      outs: ["out-${{item}}", "began-${{item}}", "ended-${{item}}"]
"""


def main() -> None:
    """Measure, and print one line of JSON."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a time limit too leaves no server behind
    with tempfile.TemporaryDirectory(prefix="inkflow-bench-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        database = stack.enter_context(running_postgres())  # on SQLite the server stalls
        server = PrefectServer(folder / "prefect", database)
        stack.enter_context(server.running())
        environment = {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(folder / "prefect"), "DO_NOT_TRACK": "1"}
        project = _project(folder, options)
        _deploy(folder, environment)
        for number in range(options.workers):
            stack.enter_context(_worker(folder / f"worker-{number}", environment))
        _wait_for_workers(environment["PREFECT_API_URL"], options.workers)
        before = _processor_s(folder)
        total_s = seconds_of(*INKFLOW, folder=project, environment=environment)
        processor_s = _processor_s(folder) - before
        print(json.dumps(_line(project, options, total_s, processor_s)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=4)
    return parser.parse_args()


def _line(project: Path, options: argparse.Namespace, total_s: float, processor_s: float) -> dict[str, object]:
    """What the stages themselves wrote down, against the ideal."""
    times = {name: sorted(float(path.read_text()) for path in project.glob(f"{name}-*")) for name in ("began", "ended")}
    assert len(times["ended"]) == options.stages
    span_s = times["ended"][-1] - times["began"][0]
    ideal_s = options.stages * options.seconds / options.workers
    work_s = sum(times["ended"]) - sum(times["began"])
    return {
        "benchmark": f"{options.stages} stages of {options.seconds:g} s over {options.workers} workers",
        "target": "at least 80 % of the ideal speed-up",
        "percent_of_ideal": round(100 * ideal_s / span_s, 1),
        "ideal_s": ideal_s,
        "first_to_last_s": round(span_s, 2),
        "from_command_to_prompt_s": round(total_s, 2),
        "a_stage_s": round(work_s / options.stages, 2),
        "overhead_a_stage_s": round(span_s * options.workers / options.stages - options.seconds, 2),
        "processor_s_a_stage": round(processor_s / options.stages, 2),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _project(folder: Path, options: argparse.Namespace) -> Path:
    """A project with independent stages that run in the pool."""
    project, remote = folder / "project", folder / "remote"
    project.mkdir()
    remote.mkdir()
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=project, check=True)
    names = ", ".join(f"s{number}" for number in range(options.stages))
    files = {
        "dvc.yaml": STAGES.format(names=names, seconds=options.seconds),
        "in": "one\n",
        "execution.yaml": f"stages:\n  '*':\n    pool: {POOL}\n",
        ".gitignore": "/out-*\n/began-*\n/ended-*\n/.inkflow\n",
        ".dvc/config": f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote}\n",
    }
    for name, text in files.items():
        (project / name).write_text(text)
    subprocess.run([*GIT, "add", "--all"], cwd=project, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", "bench"], cwd=project, check=True)
    return project


def _deploy(folder: Path, environment: Mapping[str, str]) -> None:
    """Make the pool, and the deployment as prefect.yaml has it."""
    url = environment["PREFECT_API_URL"]
    httpx.post(f"{url}/work_pools/", json={"name": POOL, "type": "process"}, timeout=30).raise_for_status()
    with (ROOT / "prefect.yaml").open() as file:
        content: dict[str, Any] = YAML(typ="safe").load(file)
    content["deployments"] = [entry for entry in content["deployments"] if entry["name"] == POOL]
    with (folder / "prefect.yaml").open("w") as file:
        YAML().dump(content, file)
    command = (sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
    seconds_of(*command, folder=folder, environment=environment)


@contextmanager
def _worker(home: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A worker with a home of its own; it takes a second run, which prepares while the first computes."""
    home.mkdir()
    settings = {
        **environment,
        "HOME": str(home),
        "PREFECT_HOME": str(home / ".prefect"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", home.name, "--limit", "2"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | settings, cwd=home, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for_workers(url: str, count: int) -> None:
    end = time.monotonic() + 120
    while len(httpx.post(f"{url}/work_pools/{POOL}/workers/filter", json={}, timeout=30).json()) < count:
        if time.monotonic() > end:
            raise TimeoutError("the workers did not start")
        time.sleep(0.2)


def _processor_s(folder: Path) -> float:
    """Processor seconds so far of this process and of all that has its home in `folder`, with ended children's."""
    total = sum(psutil.Process().cpu_times()[:4])
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if str(folder) in environment.get("PREFECT_HOME", ""):
                total += sum(process.cpu_times()[:4])
        except (psutil.Error, OSError):
            continue
    return float(total)


if __name__ == "__main__":
    main()
