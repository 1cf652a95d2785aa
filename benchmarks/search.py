"""A search for `dense` on digits: killed twice with -9 and resumed, what a trial costs, and TPE against a grid.

    python -m benchmarks.search kills --trials 50 --jobs 2    # `inkflow sweep`: every trial is there, once
    python -m benchmarks.search quality --studies 5           # scores of the same trainings in one process, no clones

Scores are validation losses; the test images are not read. The grid has 50 points of the same space: five learning
rates by five numbers of units by two optimizers.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from ruamel.yaml import YAML

from benchmarks import common
from benchmarks.support.processor import children_s
from flows.experiments.search.space import parse_space
from flows.experiments.search.study import Definition, Study

RATE, UNITS, OPTIMIZER = "optimizer.learning_rate", "units", "optimizer.name"
SPACE = {RATE: "1e-4..1e-1:log", UNITS: "16..256:int", OPTIMIZER: "adam|rmsprop"}
MODEL = {"network": "dense", "units": [64], "optimizer": {"name": "adam"}, "batch_size": 128, "epochs": 5}
RATES = [1e-1 / 1000 ** (step / 4) for step in range(5)]
GRID = [
    {RATE: rate, UNITS: units, OPTIMIZER: name}
    for rate in RATES
    for units in (16, 76, 136, 196, 256)
    for name in ("adam", "rmsprop")
]
GIT = ["git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
STUDY = Path(".inkflow/search/benchmark/journal")


def make_project(folder: Path) -> None:
    """Makes a project in `folder` that trains `dense` alone, on digits."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(common.ROOT), str(folder)], check=True)
    yaml = YAML()
    content = yaml.load((folder / "params.yaml").read_text())
    content.update({"dataset": "digits", "models": {"dense": MODEL}})
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(content, file)
    subprocess.run([*GIT, "commit", "--quiet", "--all", "--message", "dense on digits"], cwd=folder, check=True)


def ended(folder: Path) -> int:
    """Returns the number of trials that have ended, from the lines of the journal that end one."""
    path = folder / STUDY
    lines = path.read_text().splitlines() if path.exists() else []
    return sum('"op_code":6' in line for line in lines)


def kills(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs a search, kills it at a third and at two thirds of its trials, resumes it, and counts what is there."""
    folder = arguments.work / "project"
    make_project(folder)
    space = [part for key, text in SPACE.items() for part in ("--space", f"models.dense.{key}={text}")]
    command = [sys.executable, "-P", "-m", "flows", "sweep", "--search", "tpe", *space, "--objective", "val_loss"]
    command += ["--trials", str(arguments.trials), "--jobs", str(arguments.jobs), "--study", "benchmark", "--json"]
    environment = os.environ | {"PYTHONPATH": str(common.ROOT), "INKFLOW_MIRROR": ""}
    started_s, killed_at = time.monotonic(), []
    for share in (1 / 3, 2 / 3):
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
            while ended(folder) < share * arguments.trials and process.poll() is None:
                time.sleep(0.2)
            process.send_signal(signal.SIGKILL)
        killed_at.append(ended(folder))
    before_s = children_s()
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall_s, used_s = time.monotonic() - started_s, children_s() - before_s
    alone = [sys.executable, "-P", "-m", "flows", "run", "--no-server", "--force"]
    subprocess.run(alone, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    alone_s = children_s() - before_s - used_s
    trials = json.loads(done.stdout)["trials"]
    refs = subprocess.check_output(["git", "for-each-ref", "refs/exps"], cwd=folder, text=True)
    present = {line.rpartition("/")[2] for line in refs.splitlines()}
    last = [trial for trial in trials if trial["trial"] >= killed_at[1]]
    return {
        "trials": len(trials),
        "killed after": killed_at,
        "complete": sum(trial["state"] == "complete" for trial in trials),
        "experiments missing": len({trial["experiment"] for trial in trials} - present),
        "numbers twice": len(trials) - len({trial["trial"] for trial in trials}),
        "wall s": round(wall_s),
        "CPU s a trial, after the last kill": round(used_s / max(1, len(last)), 1),
        "CPU s of a run of the same stages": round(alone_s, 1),
        "best": min(trial["value"] for trial in trials),
    }


def quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the best of TPE, in each study, with the best of the grid; both with 50 trainings."""
    score = make_scorer(arguments.work / "data")
    grid = min(score(settings) for settings in GRID[: arguments.trials])
    best = []
    for seed in range(arguments.studies):
        definition = Definition(parse_space([f"{key}={text}" for key, text in SPACE.items()]), "val_loss", "minimize",
                                [], "")  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            study = Study(Path(folder), definition, "tpe", None, seed)
            while (trial := study.claim(arguments.trials)) is not None:
                study.tell(trial, TrialState.COMPLETE, score(study.settings(trial)), {})
            found = study.best()
            assert found is not None
            best.append(found.value)
            study.close()
        print(f"seed {seed}: {best[-1]:.5f}", file=sys.stderr, flush=True)
    return {"trials": arguments.trials, "grid": grid, "tpe": best, "median of tpe": statistics.median(best)}


def make_scorer(work: Path) -> Callable[[Mapping[str, Any]], float]:
    """Returns a function that trains `dense` on digits in this process, and returns its validation loss."""
    from stages.base.config import load_section
    from stages.model.config import Model
    from stages.samples.prepared import load_into_memory, read_training_data
    from stages.train.device import load_keras, set_up_device

    work.mkdir(parents=True, exist_ok=True)
    yaml, params = YAML(), work / "params.yaml"
    content = yaml.load((common.ROOT / "params.yaml").read_text())

    def write(model: Mapping[str, Any]) -> None:
        content.update({"dataset": "digits", "models": {"dense": dict(model)}})
        with params.open("w") as file:
            yaml.dump(content, file)

    write(MODEL)
    common.call(["-m", "stages.download", "--out", work / "raw", "--params", params])
    common.call(["-m", "stages.prepare", "--raw", work / "raw", "--out", work / "prepared", "--params", params])
    data = load_into_memory(read_training_data(work / "prepared"))
    load_keras()
    from stages.train import fit, networks, training_model  # import Keras

    known: dict[str, float] = {}

    def score(settings: Mapping[str, Any]) -> float:
        optimizer = {"name": settings[OPTIMIZER], "learning_rate": settings[RATE]}
        key = json.dumps(dict(settings), sort_keys=True)
        if key not in known:
            write(MODEL | {"units": [settings[UNITS]], "optimizer": optimizer})
            model: Any = load_section(params, ["models", "dense"], Model)
            set_up_device(model.device, model.threads)
            network = networks.build(model, data.prepared.shape, data.prepared.classes)
            trained = training_model.build_training_model(network, model)
            fit.compile_network(trained, model, len(data.train.labels))
            with redirect_stdout(StringIO()):
                fit.fit(trained, data, "dense", model)
            known[key] = fit.score(network, data.validation, model, data.prepared.classes)["loss"]
        return known[key]

    return score


def main() -> None:
    """Runs one of the two and prints what was found."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("what", choices=("kills", "quality"))
    found.add_argument("--trials", type=int, default=50)
    found.add_argument("--studies", type=int, default=5)
    found.add_argument("--jobs", type=int, default=2)
    found.add_argument("--work", type=Path, default=common.WORK / "search")
    arguments = found.parse_args()
    result = kills(arguments) if arguments.what == "kills" else quality(arguments)
    print(json.dumps(common.hardware() | result, indent=2))


if __name__ == "__main__":
    main()
