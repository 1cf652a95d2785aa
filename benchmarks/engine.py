"""The engine against `dvc repro`: parallel stages, overhead a stage, nothing to do, a flow through the server.

    python -m benchmarks.engine --runs 5 --only wide

Each comparison prints one line of JSON; seconds are medians of wall time from command to prompt.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.support import graphs
from benchmarks.support.deployed import deployed
from benchmarks.support.measure import Side, compare, prefect_server, seconds_of

INKFLOW = (sys.executable, "-m", "flows", "run")
DVC = (sys.executable, "-m", "dvc", "repro", "--quiet")
# The flow itself, called in a process of its own, with everything to be imported first.
FLOW = (sys.executable, "-c", "from flows.scheduled import scheduled; scheduled()")
PARAFFIN = ("paraffin==0.3.7", "sqlmodel==0.0.22")  # newer sqlmodel breaks it
JOBS = "8"
LEFT_BY_RUNS = ("dvc.lock", ".inkflow", ".dvc/cache", ".dvc/tmp")

Environment = Mapping[str, str]


def main() -> None:
    """Measure what was asked for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="inkflow-bench-") as scratch:
        folder = Path(scratch)
        with prefect_server(folder / "prefect") as environment:
            environment["DVC_SITE_CACHE_DIR"] = str(folder / "site")
            for name, benchmark in BENCHMARKS.items():
                if options.only in (None, name):
                    benchmark(folder / name, options, environment)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", "5")), help="measured runs a side")
    parser.add_argument("--only", choices=[*BENCHMARKS], help="measure this alone")
    parser.add_argument("--paraffin", action="store_true", help="install paraffin in a temporary venv, and measure it")
    return parser.parse_args()


def _wide(folder: Path, options: argparse.Namespace, environment: Environment) -> None:
    """8 independent stages of 2 s and a join."""
    sides: list[Side] = []
    facts: dict[str, Any] = {}
    commands = {"inkflow run --jobs 8": (*INKFLOW, "--jobs", JOBS), "dvc repro": DVC}
    if options.paraffin:
        try:
            commands["paraffin -n 8"] = _install_paraffin(folder.parent)
        except subprocess.CalledProcessError as error:
            facts["skipped"] = f"paraffin: {(error.stderr or '').strip().splitlines()[-1:]}"
    else:
        facts["skipped"] = "paraffin: asked for with --paraffin"
    for number, (name, command) in enumerate(commands.items()):
        project = folder / str(number)
        graphs.wide(project, 8, 2)
        sides.append(_side(name, project, command, environment, partial(_forget, project)))
    compare("8 stages of 2 s and a join", sides, options.runs, "inkflow at most 3.5 s", **facts)


def _overhead(folder: Path, options: argparse.Namespace, environment: Environment) -> None:
    """100 stages of 0.1 s in 4 layers: what is left of the time after the stages' own."""
    depth, width, stage_s = 4, 25, 0.1
    mine, other = folder / "mine", folder / "dvc"
    for project in (mine, other):
        graphs.layers(project, depth, width, stage_s)
    sides = [
        _side("inkflow run --jobs 8", mine, (*INKFLOW, "--jobs", JOBS), environment, lambda: _forget(mine)),
        _side("dvc repro", other, DVC, environment, lambda: _forget(other)),
    ]
    count = depth * width
    ideal_s = depth * -(-width // int(JOBS)) * stage_s
    line = compare(f"{count} stages of {stage_s} s in {depth} layers", sides, options.runs, "below")
    seconds = line["seconds"]
    assert isinstance(seconds, dict)
    overhead_ms = round(1000 * (seconds["inkflow run --jobs 8"] - ideal_s) / count, 1)
    print(_line("overhead a stage", "at most 100 ms", overhead_ms=overhead_ms, ideal_s=round(ideal_s, 3)), flush=True)


def _idle(folder: Path, options: argparse.Namespace, environment: Environment) -> None:
    """Nothing to do, for 9 and for 100 stages."""
    for count, make in _SIZES.items():
        project = folder / str(count)
        make(project)
        seconds_of(*INKFLOW, "--jobs", JOBS, folder=project, environment=environment)
        sides = [
            _side("inkflow run", project, INKFLOW, environment),
            _side("dvc repro", project, DVC, environment),
        ]
        compare(f"nothing to do, {count} stages", sides, options.runs, "ratio at most 0.8")


def _flow(folder: Path, options: argparse.Namespace, environment: Environment) -> None:
    """Nothing to do, through the server: as a schedule does it, by a worker, and in a process of its own."""
    project = folder / "9"
    graphs.wide(project, 8, 0)
    seconds_of(*INKFLOW, "--jobs", JOBS, folder=project, environment=environment)
    dvc = _side("dvc repro", project, DVC, environment)
    with deployed(project, environment) as run:
        sides = [Side("run of a deployment", dict, run), dvc]
        compare("nothing to do through the server, 9 stages", sides, options.runs, "ratio at most 2.5")
    sides = [_side("process that calls the flow", project, FLOW, environment), dvc]
    compare("the same in a process that imports everything first", sides, options.runs, "none: for comparison")


_SIZES: dict[int, Callable[[Path], None]] = {
    9: lambda folder: graphs.wide(folder, 8, 0),
    100: lambda folder: graphs.layers(folder, 4, 25, 0),
}
BENCHMARKS = {"wide": _wide, "overhead": _overhead, "idle": _idle, "flow": _flow}


def _side(
    name: str, project: Path, command: tuple[str, ...], environment: Environment, prepare: Callable[[], object] = dict
) -> Side:
    return Side(name, prepare, lambda: seconds_of(*command, folder=project, environment=environment))


def _line(what: str, target: str, **facts: object) -> str:
    return json.dumps({"benchmark": what, "target": target, **facts})


def _forget(project: Path) -> None:
    """As before the first run: no record, no outputs, no cache."""
    for name in [*LEFT_BY_RUNS, *(path.name for path in project.glob("out-*")), "joined"]:
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _install_paraffin(scratch: Path) -> tuple[str, ...]:
    """The command of paraffin, from an environment of its own."""
    venv = scratch / "paraffin"
    python = venv / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", str(venv)], check=True, capture_output=True, text=True)
    install = ["uv", "pip", "install", "--quiet", "--python", str(python), *PARAFFIN]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return (str(venv / "bin" / "paraffin"), "-n", JOBS)


if __name__ == "__main__":
    main()
