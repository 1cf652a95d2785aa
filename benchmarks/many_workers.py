"""Where time and database go when a run sends many stages to many workers: a real run and server, simulated workers.

    python -m benchmarks.many_workers --stages 100 300 --workers 100

The run, Prefect's server and PostgreSQL are real. The workers are one process that does for each of them what a worker
sends to the server and to the DVC remote, and computes nothing. Processor seconds are those of the run, of the server,
of PostgreSQL and of the simulated workers; rows and bytes are those of the database. docs/scale.md has the conclusions.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil

from benchmarks import common
from benchmarks.dispatch import GIT, POOL
from benchmarks.sqlite import OurServer
from benchmarks.support.measure import NO_REPORTS, ROOT
from tests.support.postgres import find_program, running_postgres

COUNTING = "benchmarks.support.counting_server:create_app"
STAGES = """
stages:
  step:
    foreach: [{names}]
    do:
      cmd: cat in p > out-${{item}}
      deps: [in, p]
      outs: ["out-${{item}}"]
"""
# With the default limits, a machine that is too slow for the simulation would lose its workers.
EXECUTION = f"stages:\n  '*':\n    pool: {POOL}\nworkers: {{pool_wait_s: 3600, lost_after_s: 3600}}\n"
TABLES = """
    select relname, n_live_tup, pg_total_relation_size(relid) from pg_stat_user_tables
"""
SHOWN = 6  # tables and requests that are told, the largest first


class CountingServer(OurServer):
    """The server of `inkflow up` with a count of its requests."""

    def __init__(self, folder: Path, database: str) -> None:
        super().__init__(folder, database)
        self._command = [*self._command[:3], "--factory", COUNTING, *self._command[5:]]


def main() -> None:
    """Measure each number of stages with a server and a database of its own; a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, nargs="+", default=[100, 300], help="numbers of stages")
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a stage")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a time limit too leaves no server behind
    for stages in options.stages:
        with tempfile.TemporaryDirectory(prefix="inkflow-bench-") as scratch, running_postgres() as database:
            measure(Path(scratch), database, stages, options)


def measure(folder: Path, database: str, stages: int, options: argparse.Namespace) -> None:
    """Run `stages` stages on the workers, and print what that took."""
    server = CountingServer(folder / "prefect", database)
    with server.running():
        environment = {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(folder / "prefect"), "DO_NOT_TRACK": "1"}
        project = make_project(folder, stages)
        deploy(server.url)
        assert server.process is not None
        parts = {"server": server.process.pid, "database": _postgres_pid(database)}
        with _workers(folder, environment, options, content="one\np\n") as workers:
            parts["workers"] = workers
            before = {name: _processor_s(pid) for name, pid in parts.items()}
            tables, earlier = _tables(database), _requests(server.url)
            start = time.perf_counter()
            run_s, peak_mb = _run(project, environment)
            wall_s = time.perf_counter() - start
            spent = {"run": run_s} | {name: _processor_s(pid) - before[name] for name, pid in parts.items()}
            requests = _requests(server.url) - earlier
            grown = _growth(tables, _tables(database))
        _report(stages, options, SimpleNamespace(spent=spent, grown=grown, requests=requests, wall=wall_s, mb=peak_mb))


def _report(stages: int, options: argparse.Namespace, found: Any) -> None:
    """Print the line of JSON: all figures by stage."""
    rows = {name: round(count / stages, 1) for name, (count, _) in found.grown.items()}
    kilobytes = {name: round(size / stages / 1024, 1) for name, (_, size) in found.grown.items()}
    requests = {name: round(count / stages, 1) for name, count in _largest(found.requests).items()}
    common.report(
        f"{stages} stages of {options.seconds:g} s on {options.workers} simulated workers",
        "none: see docs/scale.md",
        seconds={"from command to prompt": round(found.wall, 1)},
        runs=1,
        stages=stages,
        processor_ms_a_stage={name: round(1000 * value / stages) for name, value in found.spent.items()},
        requests_a_stage=round(sum(found.requests.values()) / stages, 1),
        most_frequent_requests_a_stage=requests,
        database_kb_a_stage=round(sum(kilobytes.values()), 1),
        largest_tables_kb_a_stage=_largest(kilobytes),
        largest_tables_rows_a_stage={name: rows[name] for name in _largest(kilobytes)},
        peak_mb_of_the_run=round(found.mb),
    )


def _largest(values: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(values.items(), key=lambda item: -item[1])[:SHOWN])


def make_project(folder: Path, stages: int) -> Path:
    """A project with independent stages that run in the pool."""
    project, remote = folder / "project", folder / "remote"
    project.mkdir()
    remote.mkdir()
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=project, check=True)
    files = {
        "dvc.yaml": STAGES.format(names=", ".join(f"s{number}" for number in range(stages))),
        "in": "one\n",
        "p": "p\n",
        "execution.yaml": EXECUTION,
        ".gitignore": "/out-*\n/.inkflow\n",
        ".dvc/config": f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote}\n",
    }
    for name, text in files.items():
        (project / name).write_text(text)
    subprocess.run([*GIT, "add", "--all"], cwd=project, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", "bench"], cwd=project, check=True)
    return project


def deploy(url: str) -> None:
    """Make the pool, and the deployment that the run asks for; nobody runs its code."""
    with httpx.Client(base_url=url, timeout=60) as client:

        def post(path: str, **content: object) -> Any:
            return client.post(path, json=content).raise_for_status().json()

        post("/work_pools/", name=POOL, type="process")
        flow = post("/flows/", name="train-stage")
        post("/deployments/", name=POOL, flow_id=flow["id"], work_pool_name=POOL, entrypoint="none.py:none")


def _run(project: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Run `inkflow run`; its processor seconds, with those of git, and the peak of its memory in MB."""
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | NO_REPORTS | dict(environment)
    log = (project / ".inkflow.log").open("w+")
    with (
        log,
        subprocess.Popen(
            [sys.executable, "-m", "flows", "run"], cwd=project, env=settings, stdout=log, stderr=log
        ) as process,
    ):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read()[-3000:])
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@contextmanager
def _workers(folder: Path, environment: Mapping[str, str], options: argparse.Namespace, content: str) -> Iterator[int]:
    """The process of the simulated workers, by its id."""
    command = [sys.executable, "-m", "benchmarks.support.fake_workers", "--workers", str(options.workers)]
    command += ["--pool", POOL, "--seconds", str(options.seconds), "--content", content]
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment)
    with (folder / "workers.log").open("w") as log:
        process = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
        try:
            yield process.pid
        except BaseException:
            print((folder / "workers.log").read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(timeout=60)


def _tables(database: str) -> dict[str, tuple[int, int]]:
    """Rows and bytes of each table, with its indexes."""
    psql = find_program("psql")
    assert psql
    command = [psql, database.replace("+asyncpg", ""), "-At", "-F,", "-c", "analyze", "-c", TABLES]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = (line.split(",") for line in answer.splitlines() if "," in line)
    return {name: (int(rows), int(size)) for name, rows, size in lines}


def _requests(url: str) -> Counter[str]:
    """Requests so far to the server, by method and path."""
    return Counter(httpx.get(f"{url.removesuffix('/api')}/requests", timeout=60).json())


def _growth(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {name: (after[name][0] - rows, after[name][1] - size) for name, (rows, size) in before.items()}


def _postgres_pid(database: str) -> int:
    """The process of PostgreSQL that listens on the port of this address."""
    port = database.rpartition(":")[2].partition("/")[0]
    return next(process.pid for process in psutil.process_iter() if ["-p", port] == _after(process, "-p"))


def _after(process: psutil.Process, option: str) -> list[str]:
    try:
        words = process.cmdline()
    except psutil.Error:
        return []
    return words[words.index(option) :][:2] if option in words else []


def _processor_s(pid: int) -> float:
    """Processor seconds so far of a process and its children, with those of ended ones."""
    process = psutil.Process(pid)
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += sum(member.cpu_times()[:4])
        except psutil.Error:  # it has ended: its parent has its times
            continue
    return total


if __name__ == "__main__":
    main()
