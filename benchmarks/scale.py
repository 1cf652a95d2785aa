"""Graphs of many stages against `dvc repro`: the cost of a stage, a run with nothing to do, a plan, the memory.

    python -m benchmarks.scale --sizes 100 300 1000 3000 --dvc-limit 1000
    python -m benchmarks.scale --sizes 1000 --whole    # every stage runs, nothing is recorded beforehand

Without --whole, all stages are recorded beforehand; the runs that are measured are those of 25 trivial stages and of
one, whose input has changed, at the end of the graph. The overhead a stage is the difference between these two, divided
by 24. Both sides run in turn, in a project each, with a Prefect server for ours. Processor seconds of all processes of
a command are the figure to compare, since other load of the machine changes them least; the server's are told apart.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import common
from benchmarks.support import graphs
from benchmarks.support.measure import NO_REPORTS, ROOT, prefect_server

INKFLOW = (sys.executable, "-m", "flows")
DVC = (sys.executable, "-m", "dvc", "repro", "--quiet")
RUN = (*INKFLOW, "run", "--jobs", "8")
COMMANDS = {"inkflow": RUN, "dvc": DVC}
LAYERS = 4
MANY = 25  # stages that run
READERS = {"q": MANY, "r": 1}  # files, and how many stages run when one of them has changed
LOG = ".inkflow.log"  # in the folder of a project
SAMPLE_S = 0.1  # between two looks at the memory of a command
WHATS = {
    "run": f"run of {MANY} trivial stages, of {{:,}}",
    "idle": "nothing to do, {:,} stages",
    "plan": "plan of {:,} stages",
    "whole": "whole run of {:,} trivial stages",
}
TARGETS = {
    "run": "overhead a stage flat",
    "idle": "ratio at most 0.8",
    "plan": "none: see docs/scale.md",
    "whole": "overhead a stage flat",
}


@dataclass(frozen=True)
class Cost:
    """What a command took: wall time, processor time with that of its children, and the peak memory of its process."""

    wall_s: float
    processor_s: float
    peak_mb: float


def main() -> None:
    """Measure each size, and print three lines of JSON for it."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="inkflow-scale-") as scratch:
        folder = Path(scratch)
        with prefect_server(folder / "prefect") as environment:
            environment["DVC_SITE_CACHE_DIR"] = str(folder / "site")
            measure = _measure_whole if options.whole else _measure_size
            for stages in options.sizes:
                measure(folder, stages, with_dvc=stages <= options.dvc_limit, environment=environment)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=_size, nargs="+", default=[100, 300, 1000, 3000], help="numbers of stages")
    parser.add_argument(
        "--dvc-limit", type=int, default=1000, help="largest size that `dvc repro` runs too: it takes minutes"
    )
    parser.add_argument("--whole", action="store_true", help="measure a run of all stages, from nothing")
    return parser.parse_args()


def _size(text: str) -> int:
    """A number of stages, of which each layer has the same part."""
    if not text.isdecimal() or int(text) < LAYERS or int(text) % LAYERS:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a multiple of {LAYERS}, as 300")
    return int(text)


def _measure_size(folder: Path, stages: int, *, with_dvc: bool, environment: Mapping[str, str]) -> None:
    """Measure both sides on graphs of this size."""
    projects = {"inkflow": folder / f"inkflow-{stages}"} | ({"dvc": folder / f"dvc-{stages}"} if with_dvc else {})
    for side, project in projects.items():
        graphs.recorded_layers(project, LAYERS, stages // LAYERS, READERS)
        _cost(COMMANDS[side], project, environment)  # hashes all files, which later runs need not
    said = (projects["inkflow"] / LOG).read_text()
    if "Nothing to do" not in said:
        raise RuntimeError(f"the stages that were recorded here do not count as unchanged:\n{said[-3000:]}")
    idle = {side: _cost(COMMANDS[side], project, environment) for side, project in projects.items()}
    _report("idle", stages, idle)
    _report("plan", stages, {"inkflow": _cost((*INKFLOW, "plan"), projects["inkflow"], environment)})
    one, _ = _run_readers("r", projects, environment)
    many, server_s = _run_readers("q", projects, environment)
    overheads = {
        f"{side}_overhead_ms_a_stage": _ms(many[side].processor_s - one[side].processor_s, MANY - 1)
        for side in projects
    }
    _report("run", stages, many, **overheads, server_ms_a_stage=_ms(server_s["inkflow"], MANY))


def _measure_whole(folder: Path, stages: int, *, with_dvc: bool, environment: Mapping[str, str]) -> None:
    """Run all stages of a graph of this size on both sides, in projects without records."""
    costs: dict[str, Cost] = {}
    before = _server_s()
    for side in ("inkflow", "dvc") if with_dvc else ("inkflow",):
        project = folder / f"whole-{side}-{stages}"
        graphs.layers(project, LAYERS, stages // LAYERS, 0)
        costs[side] = _cost(COMMANDS[side], project, environment)
    each = {f"{side}_ms_a_stage": _ms(cost.processor_s, stages) for side, cost in costs.items()}
    _report("whole", stages, costs, **each, server_ms_a_stage=_ms(_server_s() - before, stages))


def _run_readers(
    name: str, projects: Mapping[str, Path], environment: Mapping[str, str]
) -> tuple[dict[str, Cost], dict[str, float]]:
    """Run the stages that read the file `name`: the cost by side, and the processor seconds of the server."""
    costs, server_s = {}, {}
    for side, project in projects.items():
        (project / name).write_text("changed\n")
        before = _server_s()
        costs[side] = _cost(COMMANDS[side], project, environment)
        server_s[side] = _server_s() - before
    return costs, server_s


def _ms(seconds: float, stages: int) -> float:
    return round(1000 * seconds / stages, 1)


def _report(what: str, stages: int, costs: Mapping[str, Cost], **told: object) -> None:
    """Print the line of one comparison; its ratio is that of processor seconds."""
    names = {"inkflow": "inkflow plan" if what == "plan" else "inkflow run", "dvc": "dvc repro"}
    facts: dict[str, object] = {}
    for side, cost in costs.items():
        facts |= {f"{side}_processor_s": round(cost.processor_s, 2), f"{side}_peak_mb": round(cost.peak_mb)}
    if len(costs) > 1:
        told["ratio"] = round(costs["inkflow"].processor_s / costs["dvc"].processor_s, 3)
    common.report(
        WHATS[what].format(stages),
        TARGETS[what],
        seconds={names[side]: round(cost.wall_s, 2) for side, cost in costs.items()},
        runs=1,
        kind=what,
        stages=stages,
        **facts,
        **told,
    )


def _cost(command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command to its end and return what it took; RuntimeError if it fails."""
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | NO_REPORTS | dict(environment)
    settings.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    started = time.perf_counter()
    with (
        (folder / LOG).open("w+") as log,
        subprocess.Popen(
            command, cwd=folder, env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        peak = _Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - started
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{log.read()[-3000:]}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak.stop())


class _Peak:
    """Looks at the memory of a process several times a second, until it ends."""

    def __init__(self, pid: int) -> None:
        self._process, self._peak, self._ended = psutil.Process(pid), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The highest resident memory that was seen, in MB."""
        self._ended.set()
        self._thread.join()
        return self._peak / 1e6

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            try:
                self._peak = max(self._peak, self._process.memory_info().rss)
            except psutil.Error:
                return


def _server_s() -> float:
    """Processor seconds so far of the Prefect server, the only child of this process between two commands."""
    processes = psutil.Process().children(recursive=True)
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


if __name__ == "__main__":
    main()
