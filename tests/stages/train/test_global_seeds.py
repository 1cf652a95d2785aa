"""Own code that draws random numbers without a seed resumes to the bit."""

from pathlib import Path

import numpy as np
import pytest

from stages.train.custom.global_seeds import global_seeds
from tests.stages.train.test_checkpoints import KeepingFile, learn_model
from tests.support.learning import Folders, make_model
from tests.support.own_code import own_model, write_code

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly


pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on JAX Keras refuses calls without a seed"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

NOISE = """
@keras.saving.register_keras_serializable()
class Noise(layers.Layer):
    def call(self, values, training=False):
        return values + keras.random.normal(ops.shape(values)) if training else values


def build(shape, classes):
    noise = [layers.Flatten(), Noise(), layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(shape), *noise])


def noisy_loss(targets, outputs):
    losses = keras.losses.categorical_crossentropy(targets, outputs)
    return losses * keras.random.uniform(ops.shape(losses))
"""


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", ["network", "loss"])
def test_numbers_of_the_global_generator_continue(folders: Folders, project: Path, kind: str) -> None:
    """A training whose own network or loss draws from Keras's global generator gives the same after an interruption."""
    write_code(project, NOISE)
    model = own_model(epochs=3) if kind == "network" else make_model(epochs=3, loss="custom.own:noisy_loss")
    keeping = KeepingFile(project, 1)
    weights, history = learn_model(folders, model, keeping)
    resumed_weights, resumed_history = learn_model(folders, model, keeping.kept)
    assert len(history) == 3
    assert resumed_history == history
    assert all(np.array_equal(one, other) for one, other in zip(resumed_weights, weights, strict=True))


def test_other_models_have_no_such_state(project: Path) -> None:
    """The checkpoint of a model without own code has no further state, and no generator is created for it."""
    write_code(project, NOISE)
    assert global_seeds(make_model(dropout=0.5)) == []
    assert [tuple(variable.shape) for variable in global_seeds(own_model())] == [(2,)]
