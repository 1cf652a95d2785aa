"""Checkpoints: an interrupted training resumes with the same results, and reads only its own checkpoint."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.model.config import Model
from stages.train.checkpoints import Checkpoint, CheckpointFile
from stages.train.progress import Epoch
from tests.support.learning import Folders, make_model, settings, write_params
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks, training_model  # noqa: E402  (import Keras)

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

RANDOM: dict[str, Any] = {  # every option that draws random numbers or has state
    "dropout": 0.3,
    "augmentation": {"rotation": 10, "zoom": 0.1, "shift": 0.1, "elastic": 0.05},
    "batch_normalisation": True,
    "optimizer": {"name": "adam", "learning_rate": 0.01, "schedule": {"name": "one_cycle"}},
    "epochs": 6,
}


class KeepingFile(CheckpointFile):
    """A checkpoint file of which `kept` stays what a power failure after `epochs` epochs would leave."""

    def __init__(self, folder: Path, epochs: int) -> None:
        super().__init__(folder / "all", "tried", "0" * 64)
        self.epochs, self.kept = epochs, CheckpointFile(folder / "first", "tried", "0" * 64)

    def save(self, checkpoint: Checkpoint) -> None:
        """Saves, and keeps the checkpoint if it has `epochs` epochs."""
        super().save(checkpoint)
        if len(checkpoint.history) == self.epochs:
            self.kept.save(checkpoint)


def learn(folders: Folders, checkpoint_file: CheckpointFile, **changes: Any) -> tuple[Any, list[Epoch]]:
    """Returns weights and history of a training of a network with random layers; see `learn_model`."""
    return learn_model(folders, make_model("cnn", **RANDOM | changes), checkpoint_file)


def learn_model(folders: Folders, model: Model, checkpoint_file: CheckpointFile) -> tuple[Any, list[Epoch]]:
    """Returns weights and history of a training, which resumes from the checkpoint if there is one."""
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    trained = training_model.build_training_model(network, model)
    fit.compile_network(trained, model, len(data.train.labels))
    history = fit.fit(trained, data, "tried", model, checkpoint_file).history
    return network.get_weights(), history


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.farm),
        pytest.param({"keep": "best"}, marks=pytest.mark.farm),
        {"early_stopping": {"patience": 1}, "keep": "best", "epochs": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("epochs", [1, pytest.param(4, marks=pytest.mark.farm)])
def test_resumed_training_is_the_same_to_the_bit(
    folders: Folders, tmp_path: Path, epochs: int, changes: dict[str, Any]
) -> None:
    """A training that resumes from a checkpoint gives the weights and history of an uninterrupted one."""
    keeping = KeepingFile(tmp_path, epochs)
    weights, history = learn(folders, keeping, **changes)
    assert len(history) > epochs
    before = keeping.kept.load()
    resumed_weights, resumed_history = learn(folders, keeping.kept, **changes)
    after = keeping.kept.load()
    assert before and after
    assert after.fit_s > before.fit_s > 0  # seconds of all runs, not of the last one
    assert resumed_history == history
    assert all(np.array_equal(one, other) for one, other in zip(resumed_weights, weights, strict=True))


def stage(folders: Folders, folder: Path, out: str) -> list[str]:
    """Returns the command of the train stage, with checkpoints in `folder`."""
    params = write_params(folder / "params.yaml", tried=settings("cnn", **RANDOM | {"epochs": 40}))
    arguments = ["--model", "tried", "--data", str(folders.prepared), "--out", str(folder / out)]
    return [
        *(sys.executable, "-m", "stages.train", *arguments),
        *("--params", str(params), "--checkpoints", str(folder / "saved")),
    ]


@pytest.mark.farm
def test_kill_at_random_times(folders: Folders, tmp_path: Path) -> None:
    """A training that is killed three times, at random times after its first checkpoint, writes the same files."""
    subprocess.run(stage(folders, tmp_path, "uninterrupted"), cwd=ROOT, check=True, capture_output=True)
    rng, killed, command = random.Random(1), 0, stage(folders, tmp_path, "killed")
    for _ in range(3):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and not line.startswith("epoch"):
                pass
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
    resumed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert killed >= 1
    assert "resumes from the checkpoint of epoch" in resumed.stdout
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "uninterrupted")
    assert list((tmp_path / "saved").iterdir()) == []
