"""Makes the project whose runs docs/runs.md shows: commits on two data sets, two sweeps, a killed run.

    git clone . PROJECT && python -m tests.support.runs_project PROJECT

The folder is a clone of this project without results. The models are small, so that all of it takes a few minutes.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

MODELS = {
    "dense": {"units": [64], "epochs": 4, "batch_size": 64},
    "dense_dropout": {"units": [64], "epochs": 4, "batch_size": 64},
    "cnn": {"filters": [4, 8], "units": [32], "epochs": 4, "batch_size": 64},
}
KILLED_AFTER_S = 20
COMMITS = 5  # with results of their own
TRIALS = (  # units, dropout, learning rate
    (32, 0.1, 0.0003), (32, 0.3, 0.003), (128, 0.2, 0.01), (128, 0.4, 0.003),
)  # fmt: skip

Params = dict[str, Any]


class Project:
    """A clone of this project in which commands run and commits are made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "params.yaml"
        self._environment = {**os.environ, "PYTHONPATH": str(folder)}

    def git(self, *arguments: str) -> None:
        """Runs a command of Git as Ada."""
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=self._folder, check=True)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a command of Inkflow as the leader of a session."""
        command = [sys.executable, "-m", "flows", *arguments]
        return subprocess.Popen(command, cwd=self._folder, env=self._environment, start_new_session=True)

    def inkflow(self, *arguments: str) -> None:
        """Runs a command of Inkflow; 1 says that a quality gate failed."""
        code = self.start(*arguments).wait()
        if code not in (0, 1):
            raise SystemExit(f"inkflow {' '.join(arguments)}: exit code {code}")

    def change(self, edit: Callable[[Params], None], message: str, *, run: bool = True) -> None:
        """Edits the parameters, runs the stages and commits all."""
        yaml = YAML()
        params = yaml.load(self._file)
        edit(params)
        yaml.dump(params, self._file)
        if run:
            self.inkflow("run", "--no-server")
        self.git("commit", "-qam", message)


def small(params: Params) -> None:
    """Leaves three small models, on digits as a data set of their own."""
    for name in params["models"].keys() - MODELS.keys():
        del params["models"][name]
    for name, change in MODELS.items():
        params["models"][name].update(change)
    params["dataset"] = "digits"
    del params["datasets"]["digits"]["stand_in_for"]
    params["gates"]["every"] = {"lower_bound": 0.7}


def mnist(params: Params) -> None:
    """Changes to 4,000 images of MNIST, and back to the first size of `dense`."""
    params["dataset"] = "mnist"
    params["models"]["dense"]["units"] = [64]
    params["prepare"]["samples"] = [0, 4000]


def setter(model: str, name: str, value: Any) -> Callable[[Params], None]:
    """Returns the change of one parameter of a model."""
    return lambda params: params["models"][model].update({name: value})


def make_commits(project: Project) -> None:
    """Makes the commits: digits, then MNIST."""
    project.change(small, "Digits and three small models", run=False)
    project.inkflow("run", "--no-server")
    project.git("commit", "-qam", "First results")
    project.change(setter("cnn", "epochs", 8), "cnn: 8 epochs")
    project.change(setter("dense", "units", [2]), "dense: two units")
    project.change(mnist, "MNIST; dense: 64 units")
    project.change(setter("cnn", "filters", [8, 16]), "cnn: more filters")


def make_sweeps(project: Project) -> None:
    """Makes a sweep of two and one of three parameters, and a run that is killed."""
    dropout = "models.dense_dropout"
    project.inkflow("sweep", "--grid", "models.dense.units=[16],[256]", "--grid", "models.dense.epochs=2,8")
    lists = [
        f"{dropout}.units=[{units}] {dropout}.dropout={share} {dropout}.optimizer.learning_rate={value}"
        for units, share, value in TRIALS
    ]
    project.inkflow("sweep", *(part for line in lists for part in ("--list", line)))
    killed = project.start("run", "--no-server", "--set", "models.cnn.epochs=40")
    time.sleep(KILLED_AFTER_S)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    project.git("checkout", "-q", ".")


def main() -> None:
    """Makes the project and its page."""
    project = Project(Path(sys.argv[1]).resolve())
    make_commits(project)
    make_sweeps(project)
    project.inkflow("report", "--runs", "--limit", str(COMMITS))


if __name__ == "__main__":
    main()
