"""Optimizers and their options, the learning rate on a plateau, initial weights and limits of weights."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.base.validation_messages import error_messages
from stages.model.config import Model
from stages.model.optimizer_config import Optimizer, Schedule
from stages.train.checkpoints import Checkpoint, CheckpointFile
from stages.train.early_stopping import plateau_share
from stages.train.progress import Epoch
from tests.support.learning import Folders, make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks  # noqa: E402  (import Keras)
from stages.train.optimizers import make_optimizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

PLATEAU = {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1, "min_delta": 0.5, "cooldown": 1}


class Interrupted(Exception):
    """Stands for the kill of a training."""


class InterruptingFile(CheckpointFile):
    """A checkpoint file that interrupts the training after its third epoch."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Saves, then interrupts the training."""
        super().save(checkpoint)
        if len(checkpoint.history) == 3:
            raise Interrupted


def learn(folders: Folders, model: Model, checkpoint_file: CheckpointFile | None = None) -> tuple[Any, list[Epoch]]:
    """Returns the trained network and its history."""
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    fit.compile_network(network, model, len(data.train.labels))
    return network, fit.fit(network, data, "tried", model, checkpoint_file).history


@pytest.mark.cases(1)
@pytest.mark.parametrize("factor", [0.1, 0.5])
def test_plateau_is_that_of_keras(factor: float) -> None:
    """The learning rate after each epoch is that of Keras's ReduceLROnPlateau, for random losses and options."""
    random = np.random.default_rng(1)
    for _ in range(20):
        patience, cooldown, end = (int(random.integers(*limits)) for limits in ((1, 4), (0, 4), (0, 2)))
        options = {"patience": patience, "cooldown": cooldown, "min_delta": 0.02, "end": 0.2 * end}
        schedule = Schedule.model_validate({"name": "reduce_on_plateau", "factor": factor, **options})
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        network.compile(keras.optimizers.SGD(1.0))
        callback = keras.callbacks.ReduceLROnPlateau(
            factor=factor, patience=patience, cooldown=cooldown, min_delta=0.02, min_lr=0.2 * end
        )
        callback.set_model(network)
        callback.on_train_begin()
        losses = random.uniform(0, 1, 15).round(2).tolist()
        for epoch, loss in enumerate(losses):
            callback.on_epoch_end(epoch, {"val_loss": loss})
            expected = float(network.optimizer.learning_rate.numpy())
            assert plateau_share(losses[: epoch + 1], schedule) == pytest.approx(expected, rel=1e-5)


def test_plateau_lowers_the_rate(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a lower validation loss the learning rate falls, and a line says so."""
    model = make_model(epochs=4, optimizer={"name": "sgd", "learning_rate": 0.001, "schedule": PLATEAU})
    network, history = learn(folders, model)
    assert model.optimizer.schedule
    share = plateau_share([epoch.val_loss for epoch in history[:-1]], model.optimizer.schedule)
    assert share < 1
    assert float(network.optimizer.learning_rate.numpy()) == pytest.approx(0.001 * share)
    assert "learning rate lowered to 0.0005" in capsys.readouterr().out


@pytest.mark.farm
def test_interrupted_plateau_is_resumed(folders: Folders, tmp_path: Path) -> None:
    """A training with reduce_on_plateau and further metrics that is interrupted gives the same bytes."""
    model = make_model(
        epochs=5, metrics=["auc"], optimizer={"name": "nadam", "learning_rate": 0.001, "schedule": PLATEAU}
    )
    network, history = learn(folders, model)
    interrupting = InterruptingFile(tmp_path, "tried", "0" * 64)
    with pytest.raises(Interrupted):
        learn(folders, model, interrupting)
    resumed, again = learn(folders, model, CheckpointFile(tmp_path, "tried", "0" * 64))
    assert again == history
    assert [a.tobytes() for a in resumed.get_weights()] == [b.tobytes() for b in network.get_weights()]


@pytest.mark.parametrize(
    "config",
    [
        {"name": "adamw", "beta_1": 0.8, "beta_2": 0.99, "weight_decay": 0.01},
        {"name": "nadam", "beta_2": 0.9, "clipnorm": 1.0},
        {"name": "adamax", "global_clipnorm": 0.5},
        {"name": "sgd", "momentum": 0.9, "clipvalue": 0.1},
    ],
)
def test_options_reach_keras(config: dict[str, Any]) -> None:
    """Keras's optimizer has the options; those that are not set have Keras's defaults."""
    optimizer = make_optimizer(Optimizer.model_validate(config), 1, 1)
    assert type(optimizer).__name__.lower() == config["name"]
    defaults, options = type(optimizer)().get_config(), {key: config[key] for key in config if key != "name"}
    assert {key: optimizer.get_config()[key] for key in options} == pytest.approx(options)
    others = defaults.keys() - options.keys() - {"name"}  # Keras numbers the names
    assert {key: optimizer.get_config()[key] for key in others} == {key: defaults[key] for key in others}


@pytest.mark.cases(1)
@pytest.mark.parametrize("network", ["dense", "cnn", "conv1d", "recurrent"])
def test_norms_are_limited(folders: Folders, network: str) -> None:
    """With max_norm no unit and no filter of a hidden layer has a larger norm, in every kind of network."""
    model = make_model(
        network,
        initializer="he_normal",
        constraint={"name": "max_norm", "max_value": 0.5},
        optimizer={"name": "sgd", "learning_rate": 0.1},
        epochs=1,
        precision="float32",
    )
    trained, _ = learn(folders, model)
    kernels = [layer.get_weights()[0] for layer in trained.layers[:-1] if layer.weights]
    norms = [np.sqrt((kernel**2).sum(axis=tuple(range(kernel.ndim - 1)))) for kernel in kernels]
    assert norms
    assert all((norm <= 0.5 + 1e-5).all() for norm in norms)


def test_initial_weights() -> None:
    """The initializer gives the kernels of hidden layers, different in each layer; the output layer keeps Keras's."""
    zero = networks.build(make_model(units=[8, 8], initializer="zeros"), (4, 2, 1), 4)
    assert [bool(layer.get_weights()[0].any()) for layer in zero.layers if layer.weights] == [False, False, True]
    normal = networks.build(make_model(units=[8, 8], initializer="random_normal"), (4, 2, 1), 4)
    first, second, _ = (layer.get_weights()[0] for layer in normal.layers if layer.weights)
    assert not np.array_equal(first, second)


REFUSED: dict[str, dict[str, Any]] = {
    r"`beta_1` needs adam or adamw or nadam or adamax, got sgd": {"optimizer": {"name": "sgd", "beta_1": 0.5}},
    r"`beta_2` needs adam .*, got rmsprop": {"optimizer": {"name": "rmsprop", "beta_2": 0.0}},
    r"`clipnorm` and `clipvalue` limit .*; choose one": {
        "optimizer": {"name": "adam", "clipnorm": 1.0, "clipvalue": 1.0}
    },
    r"`patience` needs reduce_on_plateau, got cosine": {
        "optimizer": {"name": "adam", "schedule": {"name": "cosine", "patience": 2}}
    },
    r"`max_value` needs max_norm or min_max_norm, got unit_norm": {"constraint": {"name": "unit_norm", "max_value": 1}},
    r"`min_value` is 3, expected at most `max_value`, 1": {"constraint": {"name": "min_max_norm", "min_value": 3}},
    r"initializer: got 'he', expected one of": {"initializer": "he"},
    r"`initializer` applies to hidden layers, but `units` is empty": {"units": [], "initializer": "he_normal"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_options(message: str) -> None:
    """An option that does not fit is refused with one sentence."""
    with pytest.raises(ValidationError) as refused:
        make_model(**REFUSED[message])
    (sentence,) = error_messages(refused.value, Model)
    assert re.search(message, sentence), sentence
