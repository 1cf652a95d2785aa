"""Kill -9 of the flow, of a stage, of a grandchild at random moments: how often the next run ends right.

    python -m benchmarks.engine_kills --kills 50 --seed 1

Prints one line of JSON with counts; ends with 1 when any run after a kill did not end right. Right is: exit code 0,
the outputs that an undisturbed run gives, a clean `dvc status`, and nothing left running.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.support.measure import ROOT, prefect_server

INKFLOW = (sys.executable, "-m", "flows", "run", "--jobs", "4")
VICTIMS = ("flow", "stage", "grandchild")
MARK = "INKFLOW_ENGINE"
LONGEST_S = 180  # of a run on a busy machine
GRAPH = """
stages:
  first: {cmd: cat in > first, deps: [in], outs: [first]}
  slow:
    foreach: [p, q, r]
    do:
      cmd: echo half > ${item}; (sh -c "sleep 1.5; true"); echo ${item} | cat - first > ${item}
      deps: [first]
      outs: ["${item}"]
  tree: {cmd: mkdir -p tree/in && cp first tree/in/x && sleep 0.5 && cp first tree/y, deps: [first], outs: [tree]}
  last: {cmd: cat p q r tree/in/x tree/y > last, deps: [p, q, r, tree], outs: [last]}
"""


def main() -> int:
    """Kill as often as asked for; 0 when each next run ended right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills in all")
    parser.add_argument("--seed", type=int, default=1, help="for the moments")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    killed: Counter[str] = Counter()
    wrong = 0
    with (
        tempfile.TemporaryDirectory(prefix="inkflow-kill-") as scratch,
        prefect_server(Path(scratch) / "prefect") as server,
    ):
        folder = _project(Path(scratch) / "project")
        environment = os.environ | server | {"PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": f"{scratch}/site"}
        while sum(killed.values()) < options.kills:
            victim, content = VICTIMS[sum(killed.values()) % len(VICTIMS)], f"round {chance.random()}\n"
            (folder / "in").write_text(content)
            if not _disturbed_run(folder, victim, chance, environment):
                continue  # it was quicker than the kill
            killed[victim] += 1
            problem = _next_run(folder, content, environment)
            if problem:
                wrong += 1
                print(f"{victim} killed: {problem}", file=sys.stderr)
    facts = {"benchmark": "next run after kill -9", "runs": options.kills, "target": "all end right"}
    print(json.dumps(facts | {"killed": dict(killed), "right": options.kills - wrong, "wrong": wrong}), flush=True)
    return 1 if wrong else 0


def _project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "dvc.yaml").write_text(GRAPH)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    return folder


def _disturbed_run(folder: Path, victim: str, chance: random.Random, environment: Mapping[str, str]) -> bool:
    """Start a run and kill the victim at a random moment; False when the run was quicker."""
    with subprocess.Popen(
        INKFLOW, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as flow:
        _wait_for_stages(folder, flow)
        time.sleep(chance.uniform(0.0, 1.8))
        found = _stage_processes(folder) if victim == "flow" else _wait_for_stages(folder, flow)
        if victim == "flow" and flow.poll() is None:
            flow.kill()
            return True
        with suppress(psutil.Error):
            if victim != "flow" and found:
                (found[0] if victim == "stage" else found[-1]).kill()
                return True
        flow.wait(timeout=LONGEST_S)
    return False


def _wait_for_stages(folder: Path, flow: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """What runs for stages, as soon as anything does; nothing when the flow ended first."""
    while not (found := _stage_processes(folder)) and flow.poll() is None:
        time.sleep(0.01)
    return found


def _next_run(folder: Path, content: str, environment: Mapping[str, str]) -> str | None:
    """What is wrong after the run that follows a kill; None when all is right."""
    done = subprocess.run(INKFLOW, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr}"
    expected = "".join(f"{name}\n{content}" for name in "pqr") + content * 2
    if (folder / "last").read_text() != expected:
        return f"last is {(folder / 'last').read_text()!r}"
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    status = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout
    if json.loads(status) != {}:
        return f"dvc status: {status}"
    left = _stage_processes(folder)
    return f"left running: {left}" if left else None


def _stage_processes(folder: Path) -> list[psutil.Process]:
    """Whatever runs for stages of the project in `folder`, parents before their children."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").endswith(f":{folder}"):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


if __name__ == "__main__":
    sys.exit(main())
