"""Keras's optimizers and learning-rate schedules for what params.yaml names."""

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


def make_optimizer(chosen: Optimizer, epochs: int, steps: int) -> Any:
    """Keras optimizer for so many `epochs` of so many `steps` each; what is not chosen keeps Keras's default."""
    options = chosen.model_dump(include={"momentum", "nesterov", "weight_decay"}, exclude_defaults=True)
    rate = learning_rate(chosen, epochs, steps)
    return OPTIMIZERS[chosen.name](learning_rate=rate, **options)


def learning_rate(chosen: Optimizer, epochs: int, steps: int) -> Any:
    """The learning rate, a number, or a Keras schedule: a function of the optimizer's count of steps alone.

    So a training that is taken up again with the optimizer's variables goes on along the same curve.
    """
    rate = chosen.learning_rate or default_rate(chosen.name)
    schedule, last = chosen.schedule, epochs * steps
    if chosen.decay:
        return schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=chosen.decay)
    if schedule is None or schedule.name == "constant":
        return rate
    if schedule.name == "exponential":
        return schedules.ExponentialDecay(rate, steps, schedule.factor, schedule.staircase)
    if schedule.name == "cosine":
        return schedules.CosineDecay(rate, last, schedule.end)
    up = min(max(1, round(schedule.warmup * last)), max(1, last - 1))
    return schedules.CosineDecay(  # one cycle (Smith and Topin 2018), with half a wave on the way down
        schedule.start * rate, max(1, last - up), schedule.end, warmup_target=rate, warmup_steps=up
    )


def default_rate(name: str) -> float:
    """The learning rate that Keras's optimizer has when none is given."""
    return float(inspect.signature(OPTIMIZERS[name]).parameters["learning_rate"].default)
