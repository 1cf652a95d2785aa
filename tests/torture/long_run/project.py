"""The project of the long run, and what a person changes between its runs."""

import random
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import DIAMOND, Toy
from tests.support.root import ROOT

DEPLOYMENT = "inkflow/nightly"
DEPLOYMENTS = """
deployments:
  - name: nightly
    entrypoint: flows.scheduled.scheduled
    work_pool: {name: local, job_variables: {command: python -m inkflow.flows.workers.run_launcher}}
"""
IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
TIDY = (["config", "gc.auto", "200"], ["config", "gc.pruneExpire", "now"])  # 6,700 objects and two weeks otherwise
NOTHING, EDIT, EARLIER, SETTING = "nothing", "edit", "earlier", "setting"
WEIGHTS = {NOTHING: 5, EDIT: 2, EARLIER: 1, SETTING: 2}
SETTINGS = 5  # values of the runs with settings: each makes an experiment, which a person keeps or removes


def make_project(folder: Path) -> Toy:
    """Makes a DVC project of four quick stages with a deployment, all of it committed."""
    folder.mkdir(parents=True)
    toy = Toy(folder)
    quick = DIAMOND.replace("echo >> source.runs; ", "").replace("echo >> ${item}.runs; ", "")
    quick = quick.replace("echo >> join.runs; ", "").replace("cp in out", "cat in params.yaml > out")
    toy.write({"dvc.yaml": quick, "params.yaml": _params(1), "in": "one\n", ".gitignore": "/.inkflow\n"})
    toy.write({"prefect.yaml": DEPLOYMENTS, "workers/process.json": (ROOT / "workers/process.json").read_text()})
    for command in (*TIDY, ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        subprocess.run(["git", *IDENTITY, *command], cwd=folder, check=True)
    return toy


class Changes:
    """The changes before each run, by a seed; the same seed makes the same changes."""

    def __init__(self, toy: Toy, seed: int) -> None:
        self._toy, self._random, self._seen = toy, random.Random(seed), [1]

    def make(self) -> tuple[str, dict[str, Any]]:
        """Makes the next change; returns its kind, and the parameters of the run."""
        [kind] = self._random.choices([*WEIGHTS], [*WEIGHTS.values()])
        if kind == SETTING:
            return kind, {"settings": {"knobs.speed": -self._random.randint(1, SETTINGS)}}
        if kind != NOTHING:
            value = self._random.choice(self._seen) if kind == EARLIER else self._random.randrange(10**6)
            self._seen.append(value)
            self._toy.write({"params.yaml": _params(value)})
        return kind, {}


def _params(speed: int) -> str:
    return f"knobs: {{speed: {speed}}}\n"
