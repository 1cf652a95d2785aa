"""Keras optimizers and learning-rate schedules of a model in params.yaml."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras.optimizers import schedules

from stages.model.custom_code import is_code
from stages.model.optimizer_config import CLIPS, Optimizer
from stages.train.custom.parts import make_own_optimizer
from stages.train.early_stopping import plateau_share

OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adagrad": keras.optimizers.Adagrad,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "adamax": keras.optimizers.Adamax,
}


PASSED = {"momentum", "nesterov", "weight_decay", "beta_1", "beta_2", *CLIPS}  # options that have Keras's names


def make_optimizer(config: Optimizer, epochs: int, steps: int) -> Any:
    """Returns the Keras optimizer for `epochs` epochs of `steps` steps; unset options keep Keras's defaults."""
    options = config.model_dump(include=PASSED, exclude_defaults=True)
    if is_code(config.name):
        if config.learning_rate:
            options["learning_rate"] = learning_rate(config, epochs, steps)
        return make_own_optimizer(config.name, options)
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
    if schedule is None or schedule.name in ("constant", "reduce_on_plateau"):
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


def set_plateau_rate(optimizer: Any, config: Optimizer, losses: Sequence[float]) -> None:
    """Sets the learning rate after the epochs with the validation `losses`, if the schedule is reduce_on_plateau.

    It follows from the losses alone, so a training that is resumed has the same rates.
    """
    if config.schedule is None or config.schedule.name != "reduce_on_plateau":
        return
    share, before = (plateau_share(part, config.schedule) for part in (losses, losses[:-1]))
    optimizer.learning_rate = share * (config.learning_rate or default_rate(config.name))
    if share < before:
        rate = float(optimizer.learning_rate.numpy())
        print(f"learning rate lowered to {rate:.4g}: the validation loss is on a plateau", flush=True)


def default_rate(name: str) -> float:
    """Returns the default learning rate of Keras's optimizer."""
    return float(inspect.signature(OPTIMIZERS[name]).parameters["learning_rate"].default)
