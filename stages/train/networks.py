"""The networks: each one a literal list of layers from its parameters.

A list within the list is a branch: what it makes is joined with what it was given. Only a graph has branches.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import layers

from stages.model.config import CnnModel, Conv1dModel, DenseModel, Model, ModelBase, RecurrentModel
from stages.model.tasks import outputs_of

Layers: TypeAlias = list[Any]  # Keras carries no types
Shape: TypeAlias = tuple[int, ...]

CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
LAST = {"softmax": "softmax", "sigmoid": "sigmoid", "logits": None, "linear": None, "softplus": "softplus"}


def build(model: Model, shape: Shape, classes: int, policy: str = "float32") -> Any:
    """Keras model from float32 (n, *shape) to (n, classes), or (n, 1) for tasks with a single output.

    The seed gives its first weights; `policy` is Keras's name for what the layers compute in.
    """
    keras.utils.clear_session()  # else layers are named by how many this process has made
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(model.seed)
    parts = NETWORKS[type(model)](model, shape, classes)
    if model.form == "sequential":
        return keras.Sequential([keras.Input(shape), *parts], name=model.network)
    images = keras.Input(shape)
    return keras.Model(images, graph(parts, images), name=model.network)


def float32_copy(network: Any) -> Any:
    """The same layers with the same weights, not compiled, all of which compute in float32."""
    keras.config.set_dtype_policy("float32")
    config = network.get_config()
    for layer, facts in zip(network.layers, config["layers"][-len(network.layers) :], strict=True):
        if layer.dtype_policy is network.dtype_policy:  # else a policy of its own: the last layer's is float32
            facts["config"]["dtype"] = None  # Keras's default: the policy that was set
    copy = type(network).from_config(config)
    copy.set_weights(network.get_weights())
    return copy


def graph(parts: Sequence[Any], value: Any) -> Any:
    """What `parts`, one after the other, make of `value`."""
    for part in parts:
        value = layers.Concatenate()([value, graph(part, value)]) if isinstance(part, list) else part(value)
    return value


def dense(model: DenseModel, shape: Shape, classes: int) -> Layers:
    """Layers of a multi-layer perceptron."""
    return [
        layers.Flatten(),
        *hidden(model),
        output(model, classes),
    ]


def cnn(model: CnnModel, shape: Shape, classes: int) -> Layers:
    """Layers of a convolutional network."""
    return [
        *(
            layer
            for filters in model.filters
            for layer in (
                *convolutions(model, filters),
                layers.MaxPooling2D(model.pool_size),
                *silenced(model.pool_dropout),
            )
        ),
        layers.Flatten(),
        *hidden(model),
        output(model, classes),
    ]


def convolutions(model: CnnModel, filters: int) -> Layers:
    """The convolutions before one pooling."""
    each = (
        activated(layers.Conv2D, model, filters, kernel_size=model.kernel_size, padding=model.padding)
        for _ in range(model.repeat)
    )
    return [layer for convolution in each for layer in convolution]


def conv1d(model: Conv1dModel, shape: Shape, classes: int) -> Layers:
    """Layers of a convolutional network along the rows of an image."""
    return [
        rows(shape),
        *(
            layer
            for filters in model.filters
            for layer in (
                *activated(layers.Conv1D, model, filters, kernel_size=model.kernel_size, padding=model.padding),
                layers.MaxPooling1D(model.pool_size),
                *silenced(model.pool_dropout),
            )
        ),
        layers.Flatten(),
        *hidden(model),
        output(model, classes),
    ]


def recurrent(model: RecurrentModel, shape: Shape, classes: int) -> Layers:
    """Layers of a recurrent network that reads the rows of an image from the top; the last state goes on."""
    *inner, last = model.recurrent_units
    cell, penalty = CELLS[model.cell], {"kernel_regularizer": regularizer(model)}
    return [
        rows(shape),
        *(cell(units, return_sequences=True, **penalty) for units in inner),
        cell(last, **penalty),
        *([layers.BatchNormalization()] if model.batch_normalisation else []),
        *hidden(model),
        output(model, classes),
    ]


def rows(shape: Shape) -> Any:
    """An image (h, w, c) as a sequence of h rows of w * c features."""
    height, width, channels = shape
    return layers.Reshape((height, width * channels))


def hidden(model: ModelBase) -> Layers:
    """Hidden dense layers, each with its dropout where there is one, each a branch with `skip`."""
    drop = [] if model.units else silenced(model.dropout)
    blocks = [
        [
            *activated(layers.Dense, model, units),
            *silenced(model.dropout),
        ]
        for units in model.units
    ]
    return blocks if model.skip else [*drop, *(layer for block in blocks for layer in block)]


def silenced(share: float) -> Layers:
    """Dropout of this share, where there is any."""
    return [layers.Dropout(share)] if share else []


def activated(kind: Any, model: ModelBase, width: int, **options: Any) -> Layers:
    """A hidden layer of a `kind` with its activation, and batch normalisation between the two where chosen."""
    options["kernel_regularizer"] = regularizer(model)
    if not model.batch_normalisation:
        return [kind(width, activation=activation(model), **options)]
    return [
        kind(width, use_bias=False, **options),  # the normalisation has a bias
        layers.BatchNormalization(),
        layers.Activation(activation(model)),
    ]


def output(model: ModelBase, classes: int) -> Any:
    """The last layer: probabilities, scores, or a number."""
    return layers.Dense(outputs_of(model, classes), activation=LAST[model.output], dtype="float32")


def activation(model: ModelBase) -> str | None:
    """Keras's name for the hidden layers' activation; None makes them linear."""
    return None if model.activation == "none" else model.activation


def regularizer(model: ModelBase) -> Any:
    """Penalty on the weights of a layer, or None."""
    return keras.regularizers.L1L2(model.l1, model.l2) if model.l1 or model.l2 else None


NETWORKS: dict[type, Callable[..., Layers]] = {
    DenseModel: dense,
    CnnModel: cnn,
    Conv1dModel: conv1d,
    RecurrentModel: recurrent,
}
