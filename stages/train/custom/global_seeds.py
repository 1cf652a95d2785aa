"""Keras's global seed generator, from which own code draws random numbers without a seed of its own."""

from typing import Any

from stages.model.config import Model
from stages.model.custom_code import own_code


def global_seeds(model: Model) -> list[Any]:
    """Returns the variable of Keras's global seed generator, if `model` uses own code; else none.

    A call such as `keras.random.normal(shape)` reads and changes it, so an exact checkpoint must contain it. Layers of
    Keras and of this project have generators of their own, which are variables of the network. The first call creates
    the generator, from the seed of the training.
    """
    if not own_code(model):
        return []
    from keras.src.random.seed_generator import global_seed_generator  # late: Keras has no public name for it

    return [global_seed_generator().state]
