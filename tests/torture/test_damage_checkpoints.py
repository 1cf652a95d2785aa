"""Damaged checkpoints and models of finished seeds: the next training makes the bytes of an undisturbed one."""

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from tests.support.root import ROOT
from tests.support.tiny_data import snapshot
from tests.torture.conftest import Rounds, Try
from tests.torture.support.damage import DAMAGES, write_damage

SEED = 17
SEEDS = [3, 4]  # the training is killed in the second one: the first one is finished
EPOCHS = 40
LEFT = 3  # epochs of the second seed before the kill
MODEL: dict[str, Any] = {
    "dropout": 0.3,
    "augmentation": {"shift": 0.1},
    "epochs": EPOCHS,
    "seeds": SEEDS,
}
CHECKPOINT, FINISHED = "*.checkpoint", "*.finished/*"  # of a finished seed: its models, history.csv, training.json
ATTEMPTS = [*product((CHECKPOINT, FINISHED, CHECKPOINT), DAMAGES)]  # the checkpoint is damaged twice, by other seeds


class Training:
    """The train stage in `folder`, as a process, with the data and the parameters of all trainings of this test."""

    def __init__(self, folder: Path) -> None:
        from tests.support.learning import settings, write_data, write_params  # late: loads Keras

        self.folder = folder
        folder.mkdir()
        self._data = write_data(folder / "data").prepared
        self._params = write_params(folder / "params.yaml", tried=settings(**MODEL))

    def start(self, out: Path, checkpoints: Path) -> "subprocess.Popen[str]":
        """Starts the stage."""
        files = {"--data": self._data, "--out": out, "--params": self._params, "--checkpoints": checkpoints}
        words = [str(word) for pair in files.items() for word in pair]
        return subprocess.Popen(
            [sys.executable, "-m", "stages.train", "--model", "tried", *words],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, out: Path, checkpoints: Path) -> str:
        """Runs the stage to its end; returns what it printed."""
        with self.start(out, checkpoints) as process:
            text, _ = process.communicate()
        assert process.returncode == 0, text
        assert "Traceback" not in text, text
        return text

    def kill(self, out: Path, checkpoints: Path) -> None:
        """Kills the stage in the training of its last seed."""
        with self.start(out, checkpoints) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if f"seed {SEEDS[-1]}: training on" in line:
                    break
            epochs = (line for line in process.stdout if line.startswith("epoch"))
            read = [*islice(epochs, LEFT)]
            process.kill()
            process.communicate()
        assert len(read) == LEFT and process.returncode < 0, (read, process.returncode)


@pytest.mark.farm
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_damaged_checkpoints(tmp_path: Path, promise: Try, rounds: Rounds) -> None:
    """A training that was killed, and one of whose files was damaged, ends with the bytes of an undisturbed one."""
    sentence = "After a kill and damage of its checkpoint, a training makes the bytes of an undisturbed one."
    training, chance, did = Training(tmp_path / "project"), random.Random(SEED), Counter[str]()
    training.run(tmp_path / "undisturbed", tmp_path / "none")
    expected = snapshot(tmp_path / "undisturbed")
    training.kill(tmp_path / "killed", tmp_path / "left")
    with promise("Damaged files", sentence, "") as tried:
        for number, (pattern, way) in enumerate(ATTEMPTS[: rounds(1, len(ATTEMPTS))]):
            saved, out = tmp_path / f"saved-{number}", tmp_path / f"out-{number}"
            shutil.copytree(tmp_path / "left", saved)
            files = sorted(saved.glob(pattern))
            path = files[number % len(files)]
            old = path.read_bytes()
            write_damage(path, DAMAGES[way](old, chance))
            did[f"{pattern} {way}"] += 1
            with tried.attempt(f"{path.name} {way}, attempt {number}, seed {SEED}"):
                assert path.read_bytes() != old
                said = training.run(out, saved)
                assert snapshot(out) == expected, said
                is_checkpoint = path.suffix == ".checkpoint"
                assert is_checkpoint == ("warning: the checkpoint" in said), said
                left = [each.name for each in saved.iterdir()]
                assert left == ([path.with_suffix(".damaged").name] if is_checkpoint else []), left
        tried.how = ", ".join(f"{what} ({times})" for what, times in sorted(did.items()))
