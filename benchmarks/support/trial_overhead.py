"""What a trial of a search costs beside its stage: clone, restored inputs, experiment, and the study."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.support.processor import children_s

TARGET = "stated: wall and processor time of a trial beside its stage"
STAGE = """import json, sys; json.dump({"loss": (float(sys.argv[1]) - 0.3) ** 2}, open("metrics.json", "w"))"""
GRAPH = """
stages:
  fit:
    cmd: python stage.py ${x}
    deps: [stage.py]
    metrics: [metrics.json: {cache: false}]
"""
FILES = {
    "stage.py": f"{STAGE}\n",
    "params.yaml": "x: 0.5\n",
    "dvc.yaml": GRAPH,
    ".gitignore": "/.inkflow\n",
}
GIT = ["git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
DVC = [sys.executable, "-m", "dvc"]
SEARCH = ["--search", "random", "--space", "x=0..1", "--objective", "metrics.json:loss", "--study", "cheap"]


def overhead(folder: Path, count: int) -> dict[str, Any]:
    """Measures `count` trials, one after another, of a stage that takes no time; the same with `dvc exp run`.

    Returns:
        Wall and processor seconds of one trial beside its stage, of the command with nothing to do, and of DVC's.
    """
    make_project(folder)
    environment = os.environ | {"PYTHONPATH": str(common.ROOT), "DVC_NO_ANALYTICS": "1"}

    def run(command: Sequence[str]) -> None:
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)

    def run_all(commands: Iterable[Sequence[str]]) -> None:
        for command in commands:
            run(command)

    def search(trials: int) -> None:
        run([sys.executable, "-P", "-m", "flows", "sweep", *SEARCH, "--trials", str(trials), "--jobs", "1", "--json"])

    search(1)  # fills the caches of Prefect, Python and git
    nothing = timed(lambda: search(1))
    trials = timed(lambda: search(1 + count))
    stages = timed(lambda: run_all([sys.executable, "stage.py", str(number)] for number in range(count)))
    exp_run = [*DVC, "exp", "run", "--quiet", "--set-param"]
    plain = timed(lambda: run_all([*exp_run, f"x={number + 2}"] for number in range(count)))
    beside = {kind: trials[kind] - nothing[kind] - stages[kind] for kind in trials}
    return {
        "trials": count,
        "beside_the_stage": {kind: round(value / count, 2) for kind, value in beside.items()},
        "with_the_start": {kind: round((trials[kind] - stages[kind]) / count, 2) for kind in trials},
        "command_with_nothing_to_do": {kind: round(value, 2) for kind, value in nothing.items()},
        "stage": {kind: round(value / count, 2) for kind, value in stages.items()},
        "dvc_exp_run": {kind: round(value / count, 2) for kind, value in plain.items()},
    }


def make_project(folder: Path) -> None:
    """Makes a DVC project in `folder` with one cheap stage."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for command in (["git", "init", "--quiet"], [*DVC, "init", "--quiet"], ["git", "add", "--all"],
                    [*GIT, "commit", "--quiet", "--message", "a cheap stage"]):  # fmt: skip
        subprocess.run(command, cwd=folder, check=True)


def timed(action: Callable[[], object]) -> dict[str, float]:
    """Returns the wall seconds of an action, and the processor seconds of the processes that it started."""
    started_s, before_s = time.monotonic(), children_s()
    action()
    return {"wall_s": time.monotonic() - started_s, "cpu_s": children_s() - before_s}
