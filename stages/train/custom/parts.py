"""Losses, metrics and optimizers of the project's folder `custom`."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from stages.base.errors import InvalidInput
from stages.train.custom.code import load_code


def make_own_loss(name: str) -> Any:
    """Returns the loss `name`: a function of targets and outputs, or a keras.losses.Loss."""
    code = load_code(name)
    loss = code() if inspect.isclass(code) else code
    if not callable(loss):
        raise InvalidInput(
            f"`loss: {name}` is a {type(loss).__name__}, expected a function of targets and outputs, or a "
            "keras.losses.Loss"
        )
    return loss


def make_own_metric(name: str) -> Any:
    """Returns a new metric of `name`: a class keras.metrics.Metric, or a function whose mean it is."""
    code = load_code(name)
    if inspect.isclass(code) and issubclass(code, keras.metrics.Metric):
        return code()
    if not inspect.isfunction(code):
        raise InvalidInput(
            f"`metrics: {name}` is a {type(code).__name__}, expected a function of targets and outputs, or a class of "
            "keras.metrics.Metric"
        )
    return keras.metrics.MeanMetricWrapper(code)


def make_own_optimizer(name: str, options: Mapping[str, Any]) -> Any:
    """Returns the optimizer of `name`: a class keras.optimizers.Optimizer, or a function that returns one.

    Args:
        name: of the class or function.
        options: arguments: those that params.yaml sets.
    """
    code = load_code(name)
    optimizer = code(**options) if callable(code) else code
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise InvalidInput(
            f"`optimizer: {name}` gives a {type(optimizer).__name__}, expected a keras.optimizers.Optimizer, or a "
            "function that returns one"
        )
    if optimizer is code:  # an instance in the module, which several seeds would share
        return type(optimizer).from_config(optimizer.get_config())
    return optimizer
