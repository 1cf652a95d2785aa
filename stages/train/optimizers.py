"""Keras optimizers and learning-rate schedules of a model in params.yaml."""

import inspect
from typing import Any

import keras
from keras.optimizers import schedules

from stages.model.optimizer_config import Optimizer

OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adagrad": keras.optimizers.Adagrad,
}


def make_optimizer(config: Optimizer, epochs: int, steps: int) -> Any:
    """Returns the Keras optimizer for `epochs` epochs of `steps` steps; unset options keep Keras's defaults."""
    options = config.model_dump(include={"momentum", "nesterov", "weight_decay"}, exclude_defaults=True)
    rate = learning_rate(config, epochs, steps)
    return OPTIMIZERS[config.name](learning_rate=rate, **options)


def learning_rate(config: Optimizer, epochs: int, steps: int) -> Any:
    """Returns the learning rate: a number, or a Keras schedule, a function of the optimizer's step count alone.

    A training that is resumed with the optimizer's variables therefore continues the same schedule.
    """
    rate = config.learning_rate or default_rate(config.name)
    schedule, total_steps = config.schedule, epochs * steps
    if config.decay:
        return schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=config.decay)
    if schedule is None or schedule.name == "constant":
        return rate
    if schedule.name == "exponential":
        return schedules.ExponentialDecay(rate, steps, schedule.factor, schedule.staircase)
    if schedule.name == "cosine":
        return schedules.CosineDecay(rate, total_steps, schedule.end)
    warmup_steps = min(max(1, round(schedule.warmup * total_steps)), max(1, total_steps - 1))
    return schedules.CosineDecay(  # one cycle (Smith and Topin 2018): linear warm-up, then cosine decay
        schedule.start * rate,
        max(1, total_steps - warmup_steps),
        schedule.end,
        warmup_target=rate,
        warmup_steps=warmup_steps,
    )


def default_rate(name: str) -> float:
    """Returns the default learning rate of Keras's optimizer."""
    return float(inspect.signature(OPTIMIZERS[name]).parameters["learning_rate"].default)
