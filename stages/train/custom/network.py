"""Networks of a function in the project's folder `custom`: calls it, and checks what it returns."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from stages.base.errors import InvalidInput
from stages.model.config import CustomModel
from stages.model.tasks import outputs_of
from stages.train.custom.code import load_code


def build_network(model: CustomModel, shape: Sequence[int], classes: int) -> Any:
    """Returns the Keras model that the function `build` of `model` returns, as a graph of layers.

    Raises:
        InvalidInput: it returns no Keras model, or one of another input or output.
    """
    function, outputs = load_code(model.build), outputs_of(model, classes)
    if not callable(function):
        raise InvalidInput(f"`build: {model.build}` is a {type(function).__name__}, expected a function")
    options: dict[str, Any] = dict(model.arguments)
    if "model" in inspect.signature(function).parameters:
        options["model"] = model
    network = function(tuple(shape), outputs, **options)
    if not isinstance(network, keras.Model):
        raise InvalidInput(
            f"`build: {model.build}` returns a {type(network).__name__}, expected a Keras model: keras.Sequential, "
            "keras.Model(inputs, outputs), or a subclass of keras.Model"
        )
    network = _as_graph(network, shape)
    _check_ends(model.build, network, tuple(shape), outputs)
    return network


def _as_graph(network: Any, shape: Sequence[int]) -> Any:
    """Returns a model with known inputs and outputs, with the same weights."""
    if isinstance(network, keras.Sequential) and not network.built:
        network.build((None, *shape))
    try:
        if network.inputs and network.outputs:
            return network
    except (AttributeError, ValueError):  # a subclass of keras.Model knows its inputs only when it is called
        pass
    images = keras.Input(tuple(shape))
    return keras.Model(images, network(images), name="custom")


def _check_ends(build: str, network: Any, shape: tuple[int, ...], outputs: int) -> None:
    ends = {"input": (network.inputs, (None, *shape)), "output": (network.outputs, (None, outputs))}
    for end, (tensors, expected) in ends.items():
        if len(tensors) != 1:
            raise InvalidInput(f"`build: {build}` returns a model with {len(tensors)} {end}s, expected one")
        got = tuple(tensors[0].shape)
        fits = len(got) == len(expected) and all(a in (None, b) for a, b in zip(got[1:], expected[1:], strict=True))
        if not fits or (end == "output" and got[1] is None):
            advice = "its arguments are the shape of an image and the number of outputs"
            raise InvalidInput(
                f"`build: {build}` returns a model whose {end} has the shape {got}, expected {expected}; {advice}"
            )
    if network.outputs[0].dtype != "float32":
        raise InvalidInput(
            f"`build: {build}` returns a model whose output is {network.outputs[0].dtype}, expected float32; give the "
            'last layer dtype="float32"'
        )


def float32_network(network: Any, model: CustomModel, shape: Sequence[int], classes: int) -> Any:
    """Returns an uncompiled network with the weights of `network`, all layers of which compute in float32."""
    keras.utils.clear_session()  # the same layer names as in `network`
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(model.seed)
    copy = build_network(model, shape, classes)
    copy.set_weights(network.get_weights())
    return copy
