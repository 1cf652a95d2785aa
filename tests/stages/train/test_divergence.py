"""A loss that diverges is a warning; a training that never recovers fails with one sentence."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import InvalidInput
from stages.train.divergence import DivergenceWatch
from stages.train.progress import Epoch, ProgressReporter
from stages.train.training import main
from tests.stages.train.test_train import arguments, folders
from tests.support.learning import Folders, make_model, settings
from tests.support.tiny_data import snapshot

__all__ = ["folders"]

# As in test_train: Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_a_training_that_never_recovers_fails(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finite loss beyond every bound is a warning in the log, and fails the training; no file is written."""
    optimizer = {"name": "sgd", "learning_rate": 0.3}
    wild = settings(task="regression", units=[], optimizer=optimizer, epochs=1)
    argv = arguments(folders, tmp_path / "wild", "wild", wild=wild)
    with pytest.raises(InvalidInput, match="did not recover"):
        main(argv)
    log = capsys.readouterr().out
    assert snapshot(tmp_path / "wild") == {}
    assert len(re.findall(r"warning: wild: the loss diverges: \S+e\+\d+ in epoch 1; .*clipnorm", log)) == 1
    with pytest.raises(InvalidInput, match=r"models\.wild: the training diverged and did not recover: .*learning_rate"):
        main(argv)  # resumes from the checkpoint, and fails alike


@pytest.mark.parametrize("task", ["multiclass", "two_class", "regression"])
def test_recovery_is_no_failure(folders: Folders, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Large losses of early epochs warn once each time; weights that beat the trivial answer, or lost little, stay."""
    model = make_model(task=task, positive=[1]) if task == "two_class" else make_model(task=task)
    watch = DivergenceWatch("m", model, folders.data)
    good = 0.01 if task == "regression" else 0.99
    bad = 1e9 if task == "regression" else 0.0
    for number, loss in enumerate([8e16, 9e16, 0.5, 8e16], start=1):
        watch.epoch(Epoch(number, 0.1, bad, loss, bad))
    assert capsys.readouterr().out.count("warning: m: the loss diverges") == 2
    watch.check(Epoch(4, 0.1, good, 8e16, good))
    watch.check(Epoch(4, 0.1, bad, 5.0, bad))
    for loss in (8e16, math.inf, math.nan):
        with pytest.raises(InvalidInput, match="did not recover"):
            watch.check(Epoch(4, loss, bad, loss, bad))


def test_percentages_have_the_scale_of_their_first_epoch(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss of percentages is large where a target is near 0: only a rise above its first epoch diverges."""
    model = make_model(task="regression", loss="mean_absolute_percentage_error", values=[1e-6, 1.0, 2.0, 3.0])
    watch = DivergenceWatch("m", model, folders.data)
    watch.epoch(Epoch(1, 5e8, 9.0, 5e8, 9.0))
    watch.check(Epoch(1, 5e8, 9.0, 5e8, 9.0))
    assert not capsys.readouterr().out
    watch = DivergenceWatch("m", model, folders.data, [Epoch(1, 5e8, 9.0, 5e8, 9.0)])
    with pytest.raises(InvalidInput, match="did not recover"):
        watch.check(Epoch(2, 5e12, 9.0, 5e12, 9.0))


def test_weights_are_no_divergence(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of samples and of classes enlarge the training loss: what diverges follows from their mean."""
    train, bad = folders.data.train, Epoch(1, 5_000.0, 0.0, 5.0, 0.0)
    weights = np.full(len(train.labels), 100, np.float32)
    data = folders.data._replace(train=train._replace(weights=weights))
    for model, part in ((make_model(), data), (make_model(class_weights=[100.0] * 4), folders.data)):
        watch = DivergenceWatch("m", model, part)
        watch.epoch(bad)
        watch.check(bad)
        assert not capsys.readouterr().out
        with pytest.raises(InvalidInput, match="did not recover"):
            watch.check(Epoch(1, 200_000.0, 0.0, 5.0, 0.0))
    with pytest.raises(InvalidInput, match="did not recover"):
        DivergenceWatch("m", make_model(), folders.data).check(bad)


def test_large_losses_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of an epoch shows a large loss with its power of ten."""
    with ProgressReporter(3, 1) as progress:
        progress.epoch(Epoch(1, 8.16e16, 0.1, 2.5, 0.1))
    assert (
        capsys.readouterr().out == "epoch 1/3  loss 8.16e+16  accuracy 0.1000  val_loss 2.5000  val_accuracy 0.1000\n"
    )
