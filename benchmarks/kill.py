"""Kill -9 at random moments of a training with dropout, augmentation and one-cycle: the resumed ones end equal.

The moments lie anywhere between the first step and the end of the process: in the epochs mostly, in the export too.
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import common

OUTPUTS = ("model.keras", "model.onnx", "history.csv", "training.json")

MODEL = {
    "network": "cnn",
    "filters": [8, 16],
    "units": [32],
    "dropout": 0.3,
    "augmentation": {"rotation": 10, "zoom": 0.1, "shift": 0.1},
    "optimizer": {"name": "adam", "learning_rate": 0.01, "schedule": {"name": "one_cycle"}},
    "batch_size": 64,
    "epochs": 40,
}


def params(work: Path) -> Path:
    """params.yaml for the embedded digits and the model."""
    from ruamel.yaml import YAML

    yaml = YAML()
    content: dict[str, Any] = yaml.load((common.ROOT / "params.yaml").read_text())
    content.update({"dataset": "digits", "models": {"tried": MODEL}})
    work.mkdir(parents=True, exist_ok=True)
    with (work / "params.yaml").open("w") as file:
        yaml.dump(content, file)
    return work / "params.yaml"


def command(work: Path, out: Path) -> list[str]:
    """The training, with checkpoints of its own."""
    given = {"--model": "tried", "--data": work / "prepared", "--out": out, "--params": work / "params.yaml"}
    options = [str(part) for pair in (given | {"--checkpoints": f"{out}-checkpoints"}).items() for part in pair]
    return [sys.executable, "-m", "stages.train", *options]


def train(work: Path, out: Path, kill_after_s: float | None = None) -> tuple[float, bool, str]:
    """Run the training, or kill it so long after it began to learn.

    Returns: seconds from there to its end, whether it was killed, and what it said.
    """
    with subprocess.Popen(command(work, out), cwd=common.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "training on" in line)
        started = time.perf_counter()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.send_signal(signal.SIGKILL)
        said += process.communicate()[0]
    return time.perf_counter() - started, process.returncode == -signal.SIGKILL, said


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each output."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


def names(folder: Path) -> list[str]:
    """Names of the files and folders in the folder."""
    return sorted(path.name for path in folder.iterdir())


def main() -> None:
    """One undisturbed training, then many that are killed and started again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=common.WORK, help="folder for what is made")
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    work = given.work / "kill"
    shutil.rmtree(work, ignore_errors=True)
    path = params(work)
    common.call(["-m", "stages.download", "--out", work / "raw", "--params", path])
    common.call(["-m", "stages.prepare", "--raw", work / "raw", "--out", work / "prepared", "--params", path])
    whole_s, _, _ = train(work, work / "undisturbed")
    chance, equal, killed, resumed, littered = random.Random(0), 0, 0, 0, 0
    for number in range(given.kills):
        out = work / f"killed-{number}"
        took_s, was_killed, _ = train(work, out, chance.uniform(0, 1) * whole_s)
        whole_s = whole_s if was_killed else min(whole_s, took_s)  # the first one may have had a busier machine
        went_on = "resumes from the checkpoint" in train(work, out)[2]
        killed, resumed = killed + was_killed, resumed + went_on
        equal += digests(out) == digests(work / "undisturbed")
        littered += names(out) != names(work / "undisturbed")  # killed while it wrote: temporary files stay beside
    common.report(
        "training killed (-9) at random moments and run again",
        "all end with the bytes of the undisturbed one",
        runs=given.kills,
        killed=killed,
        went_on_from_a_checkpoint=resumed,
        ended_with_the_same_bytes=equal,
        with_temporary_files_beside=littered,
    )


if __name__ == "__main__":
    main()
