"""8 stages of 2 s and a join: Inkflow, plain DVC, paraffin, dask4dvc and Snakemake in turn, wall and processor seconds.

    python -m benchmarks.others --tools FOLDER --runs 3

FOLDER has a virtual environment for each other tool that is to be measured, named as the tool:

    uv venv FOLDER/paraffin && uv pip install --python FOLDER/paraffin paraffin
    uv venv FOLDER/snakemake && uv pip install --python FOLDER/snakemake snakemake
    uv venv --python 3.11 FOLDER/dask4dvc && uv pip install --python FOLDER/dask4dvc dask4dvc "typer<0.13" "click<8.2"

Each run has a new project. Processor seconds are those of the command, and of Prefect's server for Inkflow with one.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil

from benchmarks import common
from benchmarks.support import graphs
from benchmarks.support.measure import NO_REPORTS, NO_TARGET, ROOT, prefect_server
from benchmarks.support.processor import children_s, process_s

STAGES, SECONDS = 8, 2
LIMIT_S = 120.0
SNAKEFILE = f"""
rule join:
    input: expand("out-{{n}}", n=range({STAGES}))
    output: "joined"
    shell: "cat {{input}} > {{output}}"
rule step:
    input: "in"
    output: "out-{{n}}"
    shell: "sleep {SECONDS}; cat {{input}} > {{output}}"
"""
COMMANDS = {  # each a shell command in a new project
    "inkflow": "inkflow run --jobs 8",
    "inkflow --no-server": "inkflow run --jobs 8 --no-server",
    "dvc repro": "dvc repro",
    "paraffin": "paraffin submit && paraffin worker --jobs 8",
    "dask4dvc": "dask4dvc repro --max-workers 8 --no-leave",
    "snakemake": "snakemake --cores 8 --quiet all",
}


def main() -> None:
    """Measure all tools in turn, and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    own = ("inkflow", "dvc")
    names = [name for name in COMMANDS if name.startswith(own) or (options.tools / name / "bin").is_dir()]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="inkflow-bench-") as scratch:
        folder = Path(scratch)
        with prefect_server(folder / "prefect") as server_environment:
            [server] = psutil.Process().children()
            for number in range(1 + options.runs):
                for name in names:
                    environment = server_environment if name == "inkflow" else {}
                    tool = options.tools.resolve() / name / "bin"
                    project = folder / f"{name.replace(' ', '')}-{number}"
                    result = _measure(project, name, tool, environment, server)
                    if number and result:  # the first run of each fills the system's file cache
                        taken[name].append(result)
    for name, pairs in ((name, pairs) for name, pairs in taken.items() if pairs):
        wall_s, processor_s = (round(median(pair[side] for pair in pairs), 1) for side in (0, 1))
        what = f"{STAGES} stages of {SECONDS} s and a join: {name}"
        common.report(what, NO_TARGET, runs=options.runs, wall_s=wall_s, processor_s=processor_s, all=pairs)


def _measure(
    folder: Path, name: str, tool: Path, environment: Mapping[str, str], server: psutil.Process
) -> tuple[float, float] | None:
    """Wall and processor seconds of one command in a new project; None if it fails, or takes longer than LIMIT_S."""
    graphs.wide(folder, STAGES, SECONDS)
    (folder / "Snakefile").write_text(SNAKEFILE)
    path = f"{tool}:{os.environ['PATH']}" if tool.is_dir() else os.environ["PATH"]
    variables = os.environ | NO_REPORTS | {"PATH": path, "DO_NOT_TRACK": "1"} | dict(environment)
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_NAME": "bench", f"GIT_{role}_EMAIL": "bench@localhost"}
    variables.pop("PYTHONPATH", None)
    if not tool.is_dir():
        variables["PYTHONPATH"] = str(ROOT)
    before, started = children_s() + process_s(server), time.perf_counter()
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        process = subprocess.Popen(
            COMMANDS[name], shell=True, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT_S)
    wall_s = time.perf_counter() - started
    joined = folder / "joined"
    if process.poll() != 0 or not joined.exists() or joined.read_text() != "one\n" * STAGES:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        print(f"{name}: {process.wait()}", *Path(log.name).read_text().splitlines()[-5:], sep="\n", file=sys.stderr)
        return None
    return round(wall_s, 2), round(children_s() + process_s(server) - before, 2)


if __name__ == "__main__":
    main()
