"""A training that was cut off goes on as if it had not been; nothing else is ever taken for its checkpoint."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base.errors import OutputError
from stages.train.checkpoints import Checkpoint, Checkpoints, decode, encode, key_of, remove_old
from stages.train.progress import Epoch
from tests.support.learning import Folders, make_model, settings, write_data, write_params
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks, training_model  # noqa: E402  (import Keras)

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns of: theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SAVED = Checkpoint(
    [Epoch(1, 0.1, 0.2, 0.3, 1 / 3)],
    [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.array([1, 2**32 - 1], np.uint32)],
    [np.ones(3, np.float32)],
    12.5,
)
RANDOM: dict[str, Any] = {  # all that draws random numbers, and all that remembers
    "dropout": 0.3,
    "augmentation": {"rotation": 10, "zoom": 0.1, "shift": 0.1, "elastic": 0.05},
    "batch_normalisation": True,
    "optimizer": {"name": "adam", "learning_rate": 0.01, "schedule": {"name": "one_cycle"}},
    "epochs": 6,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Prepared patterns."""
    return write_data(tmp_path_factory.mktemp("checkpoints"))


def equal(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two checkpoints are the same to the bit."""
    return encode(one) == encode(other)


class Interrupted(Exception):
    """The power is cut."""


class Fragile(Checkpoints):
    """Checkpoints of a training that ends right after some epoch."""

    def __init__(self, folder: Path, epochs: int) -> None:
        super().__init__(folder, "tried", "0" * 64)
        self.epochs = epochs

    def save(self, checkpoint: Checkpoint) -> None:
        """Save, and end the training after so many epochs."""
        super().save(checkpoint)
        if len(checkpoint.history) == self.epochs:
            raise Interrupted


def learn(folders: Folders, checkpoints: Checkpoints | None, **changes: Any) -> tuple[Any, list[Epoch]]:
    """Weights and history of a training from the start, or from the checkpoint."""
    model = make_model("cnn", **RANDOM | changes)
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    learner = training_model.training_network(network, model)
    fit.compile_network(learner, model, len(data.train.labels))
    history = fit.fit(learner, data, "tried", model, checkpoints).history
    return network.get_weights(), history


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    """Every array with its type and shape, and the history to the last digit."""
    checkpoints = Checkpoints(tmp_path / "new", "tried", key_of({"a": 1}))
    assert checkpoints.load() is None
    checkpoints.save(SAVED)
    found = checkpoints.load()
    assert found is not None
    assert equal(found, SAVED)
    assert [array.dtype for array in found.state] == [array.dtype for array in SAVED.state]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [checkpoints.path.name]
    checkpoints.remove()
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("place", [0, 70, -1])
def test_damage_is_noticed_and_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int) -> None:
    """One changed byte, wherever it is: a warning, the file is kept under another name, and not used."""
    checkpoints = Checkpoints(tmp_path, "tried", key_of({}))
    checkpoints.save(SAVED)
    content = bytearray(checkpoints.path.read_bytes())
    content[place] ^= 1
    checkpoints.path.write_bytes(content)
    assert checkpoints.load() is None
    assert "warning: the checkpoint" in capsys.readouterr().err
    assert [path.suffix for path in tmp_path.iterdir()] == [".damaged"]


def test_half_a_file_is_refused() -> None:
    """A file that was cut short is no checkpoint."""
    content = encode(SAVED)
    with pytest.raises(ValueError, match="checksum"):
        decode(content[: len(content) // 2])


def test_another_key_is_another_training(tmp_path: Path) -> None:
    """What other facts left behind is not seen."""
    Checkpoints(tmp_path, "tried", key_of({"epochs": 3})).save(SAVED)
    assert Checkpoints(tmp_path, "tried", key_of({"epochs": 4})).load() is None


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file in place of the folder is said in one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Checkpoints(tmp_path / "file", "tried", "0" * 64).save(SAVED)


def test_old_ones_go(tmp_path: Path) -> None:
    """What nobody came back for in two weeks is removed, what is younger stays."""
    old, new = Checkpoints(tmp_path, "old", "0" * 64), Checkpoints(tmp_path, "new", "0" * 64)
    for checkpoints in (old, new):
        checkpoints.save(SAVED)
    long_ago = time.time() - 15 * 24 * 60 * 60
    os.utime(old.path, (long_ago, long_ago))
    remove_old(tmp_path)
    assert list(tmp_path.iterdir()) == [new.path]


@pytest.mark.parametrize(
    "changes", [{}, {"keep": "best"}, {"early_stopping": {"patience": 1}, "keep": "best", "epochs": 9}], ids=str
)
@pytest.mark.parametrize("epochs", [1, 4])
def test_training_goes_on_to_the_bit(folders: Folders, tmp_path: Path, epochs: int, changes: dict[str, Any]) -> None:
    """Cut off after some epoch and taken up: weights and history are those of an undisturbed training."""
    weights, history = learn(folders, None, **changes)
    fragile = Fragile(tmp_path, epochs)
    if len(history) > epochs:
        with pytest.raises(Interrupted):
            learn(folders, fragile, **changes)
    kept = Checkpoints(tmp_path, "tried", "0" * 64)
    before = kept.load()
    again, found = learn(folders, kept, **changes)
    after = kept.load()
    assert before and after
    assert after.fit_s >= before.fit_s > 0  # seconds of all pieces, not of the last one
    assert len(found) == epochs or after.fit_s > before.fit_s
    assert found == history
    assert all(np.array_equal(one, other) for one, other in zip(again, weights, strict=True))


def stage(folders: Folders, folder: Path, out: str) -> list[str]:
    """Command line of the train stage with checkpoints in `folder`."""
    params = write_params(folder / "params.yaml", tried=settings("cnn", **RANDOM | {"epochs": 40}))
    given = ["--model", "tried", "--data", str(folders.prepared), "--out", str(folder / out)]
    return [
        *(sys.executable, "-m", "stages.train", *given),
        *("--params", str(params), "--checkpoints", str(folder / "saved")),
    ]


@pytest.mark.slow
def test_kill_at_random_moments(folders: Folders, tmp_path: Path) -> None:
    """Kill -9 at some moment after the first checkpoint, again and again: the last run's files are as undisturbed."""
    subprocess.run(stage(folders, tmp_path, "whole"), cwd=ROOT, check=True, capture_output=True)
    chance, killed = random.Random(1), 0
    for _ in range(3):
        with subprocess.Popen(stage(folders, tmp_path, "cut"), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and not line.startswith("epoch"):
                pass
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
    done = subprocess.run(stage(folders, tmp_path, "cut"), cwd=ROOT, check=True, capture_output=True, text=True)
    assert killed >= 1
    assert "goes on from a checkpoint, after epoch" in done.stdout
    assert snapshot(tmp_path / "cut") == snapshot(tmp_path / "whole")
    assert list((tmp_path / "saved").iterdir()) == []
