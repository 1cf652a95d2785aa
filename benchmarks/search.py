"""A search for `dense` on digits: killed twice with -9 and resumed, what a trial costs, and TPE against a grid.

    python -m benchmarks.search kills --trials 50 --jobs 2    # `inkflow sweep`: every trial is there, once
    python -m benchmarks.search kills --processes 2 --jobs 1  # two of them share the study; one is killed twice
    python -m benchmarks.search overhead --trials 20          # what a trial costs beside its stage
    python -m benchmarks.search quality --studies 5           # scores of the same trainings in one process, no clones

Scores are validation losses; the test images are not read. The grid has 50 points of the same space: five learning
rates by five numbers of units by two optimizers.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from ruamel.yaml import YAML

from benchmarks import common
from benchmarks.support.measure import NO_TARGET
from benchmarks.support.processor import children_s
from benchmarks.support.trial_overhead import TARGET as OVERHEAD_TARGET
from benchmarks.support.trial_overhead import overhead
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
STUDY = Path(".inkflow/search/benchmark")
INKFLOW = [sys.executable, "-P", "-m", "flows"]


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


def ended(study: Path) -> int:
    """Returns the number of trials of a study that have ended, from the lines of its journal that end one."""
    path = study / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum('"op_code":6' in line for line in lines)


def search_command(arguments: argparse.Namespace, *more: str) -> list[str]:
    """Returns the command that starts the search, or goes on with it."""
    space = [part for key, text in SPACE.items() for part in ("--space", f"models.dense.{key}={text}")]
    command = [*INKFLOW, "sweep", "--search", "tpe", *space, "--objective", "val_loss", "--study", STUDY.name]
    return [*command, "--trials", str(arguments.trials), "--jobs", str(arguments.jobs), "--json", *more]


def environment() -> dict[str, str]:
    """Returns the environment of the command, which runs this code in another project."""
    return os.environ | {"PYTHONPATH": str(common.ROOT), "INKFLOW_MIRROR": ""}


def experiments(folder: Path) -> list[str]:
    """Returns the names of the experiments in a project."""
    refs = subprocess.check_output(["git", "for-each-ref", "refs/exps"], cwd=folder, text=True)
    return [line.rpartition("/")[2] for line in refs.splitlines()]


def kills(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs a search, kills it at a third and at two thirds of its trials, resumes it, and counts what is there."""
    folder = arguments.work / "project"
    make_project(folder)
    command = search_command(arguments)
    options: dict[str, Any] = {"cwd": folder, "env": environment()}
    started_s, killed_at = time.monotonic(), []
    for share in (1 / 3, 2 / 3):
        with subprocess.Popen(command, **options, stdout=subprocess.DEVNULL) as process:
            while ended(folder / STUDY) < share * arguments.trials and process.poll() is None:
                time.sleep(0.2)
            process.send_signal(signal.SIGKILL)
        killed_at.append(ended(folder / STUDY))
    before_s = children_s()
    done = subprocess.run(command, **options, stdout=subprocess.PIPE, text=True, check=True)
    wall_s, used_s = time.monotonic() - started_s, children_s() - before_s
    subprocess.run([*INKFLOW, "run", "--no-server", "--force"], **options, stdout=subprocess.DEVNULL, check=True)
    alone_s = children_s() - before_s - used_s
    trials = json.loads(done.stdout)["trials"]
    last = [trial for trial in trials if trial["trial"] >= killed_at[1]]
    return found_of(trials, experiments(folder)) | {
        "killed after": killed_at,
        "wall s": round(wall_s),
        "CPU s a trial, after the last kill": round(used_s / max(1, len(last)), 1),
        "CPU s of a run of the same stages": round(alone_s, 1),
    }


def shared_kills(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs a search in several processes, each in its clone of the project, with one study; kills one of them twice.

    Which one, and after how many trials, is drawn at random; it starts again at once.
    """
    folders = [arguments.work / f"project-{number}" for number in range(arguments.processes)]
    storage, dice = arguments.work / "studies", random.Random(arguments.seed)
    shutil.rmtree(storage, ignore_errors=True)
    for folder in folders:
        make_project(folder)
    command = search_command(arguments, "--storage", str(storage))

    def start(folder: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL)

    started_s, killed_at = time.monotonic(), []
    running = [start(folder) for folder in folders]
    for low, high in ((0.1, 0.4), (0.5, 0.8)):
        share, victim = dice.uniform(low, high), dice.randrange(len(folders))
        wait_for(storage / STUDY.name, share * arguments.trials, running)
        running[victim].kill()
        running[victim].wait()
        killed_at.append({"process": victim, "trials": ended(storage / STUDY.name)})
        running[victim] = start(folders[victim])
    codes = [process.wait() for process in running]
    wall_s = time.monotonic() - started_s
    done = subprocess.check_output(command, cwd=folders[0], env=environment(), text=True)
    names = [name for folder in folders for name in experiments(folder)]
    trials = json.loads(done)["trials"]
    places = [trial["place"] for trial in trials]
    return found_of(trials, names) | {
        "killed": killed_at,
        "exit codes": codes,
        "trials of each process": [sum(place.endswith(str(folder)) for place in places) for folder in folders],
        "experiments in two clones": len(names) - len(set(names)),
        "wall s": round(wall_s),
    }


def wait_for(study: Path, number: float, running: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Waits until `number` trials of a study have ended.

    Raises:
        RuntimeError: all processes that run trials have ended before.
    """
    while ended(study) < number:
        if all(process.poll() is not None for process in running) and ended(study) < number:
            codes = [process.returncode for process in running]
            raise RuntimeError(f"{ended(study)} of {number:.1f} trials had ended when all processes had: {codes}")
        time.sleep(0.2)


def found_of(trials: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Returns what is there of a search, by the rows of its trials and the names of all experiments."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return {
        "trials": len(trials),
        "complete": len(complete),
        "experiments missing": len({trial["experiment"] for trial in complete} - set(names)),
        "numbers twice": len(trials) - len({trial["trial"] for trial in trials}),
        "best": min((trial["value"] for trial in complete), default=None),
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
    """Runs one of them and prints what was found."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("what", choices=("kills", "overhead", "quality"))
    found.add_argument("--trials", type=int, default=50)
    found.add_argument("--studies", type=int, default=5)
    found.add_argument("--jobs", type=int, default=2, help="of each process")
    found.add_argument("--processes", type=int, default=1, help="that share the study of `kills`")
    found.add_argument("--seed", type=int, default=0, help="of the kills with several processes")
    found.add_argument("--work", type=Path, default=common.WORK / "search")
    arguments = found.parse_args()
    if arguments.what == "overhead":
        common.report("overhead of a trial", OVERHEAD_TARGET, **overhead(arguments.work / "cheap", arguments.trials))
        return
    run_kills = kills if arguments.processes == 1 else shared_kills
    result = run_kills(arguments) if arguments.what == "kills" else quality(arguments)
    common.report(f"search: {arguments.what}", NO_TARGET, **result)


if __name__ == "__main__":
    main()
