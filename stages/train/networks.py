"""The networks: each one a literal list of Keras layers built from the model's parameters.

A list within the list is a branch: its output is concatenated with its input. Only functional models have branches.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import layers

from stages.model.config import CnnModel, Conv1dModel, CustomModel, DenseModel, Model, ModelBase, RecurrentModel
from stages.model.tasks import outputs_of
from stages.train.custom.network import build_network
from stages.train.embedding import embed

Layers: TypeAlias = list[Any]  # Keras has no type hints
Shape: TypeAlias = tuple[int, ...]

INPUT_AXES = {layers.Conv1D: 2, layers.Conv2D: 3}  # other kernels are (inputs, units)
CONSTRAINTS = {
    "max_norm": keras.constraints.MaxNorm,
    "min_max_norm": keras.constraints.MinMaxNorm,
    "unit_norm": keras.constraints.UnitNorm,
    "non_neg": keras.constraints.NonNeg,
}
CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def build(model: Model, shape: Shape, classes: int, policy: str = "float32", vocabulary: int | None = None) -> Any:
    """Builds the Keras model from float32 (n, *shape) to (n, classes), or (n, 1) for tasks with a single output.

    The model's seed decides the initial weights; `policy` is the Keras dtype policy of the layers, and `vocabulary` the
    number of tokens where samples are sequences of them, integers (n, steps).
    """
    keras.utils.clear_session()  # resets the counters in layer names
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(model.seed)
    if isinstance(model, CustomModel):
        return build_network(model, shape, classes)
    first, features = embed(model, shape, vocabulary)
    sequence = [*first, *NETWORKS[type(model)](model, features, classes)]
    if model.form == "sequential":
        return keras.Sequential([keras.Input(shape), *sequence], name=model.network)
    images = keras.Input(shape)
    return keras.Model(images, apply_layers(sequence, images), name=model.network)


def float32_copy(network: Any) -> Any:
    """Returns an uncompiled copy of `network` with the same weights, all layers of which compute in float32."""
    keras.config.set_dtype_policy("float32")
    config = network.get_config()
    for layer, entry in zip(network.layers, config["layers"][-len(network.layers) :], strict=True):
        if layer.dtype_policy is network.dtype_policy:  # else a policy of its own: the last layer's is float32
            entry["config"]["dtype"] = None  # Keras's default: the global policy
    copy = type(network).from_config(config)
    copy.set_weights(network.get_weights())
    return copy


def apply_layers(sequence: Sequence[Any], value: Any) -> Any:
    """Returns the output of the layers and branches in `sequence`, applied to `value` one after the other."""
    for part in sequence:
        value = layers.Concatenate()([value, apply_layers(part, value)]) if isinstance(part, list) else part(value)
    return value


def dense(model: DenseModel, shape: Shape, classes: int) -> Layers:
    """Returns the layers of a multi-layer perceptron."""
    return [
        layers.Flatten(),
        *hidden_layers(model),
        output_layer(model, classes),
    ]


def cnn(model: CnnModel, shape: Shape, classes: int) -> Layers:
    """Returns the layers of a convolutional network."""
    return [
        *(
            layer
            for filters in model.filters
            for layer in (
                *convolution_layers(model, filters),
                layers.MaxPooling2D(model.pool_size),
                *dropout_layers(model.pool_dropout),
            )
        ),
        layers.Flatten(),
        *hidden_layers(model),
        output_layer(model, classes),
    ]


def convolution_layers(model: CnnModel, filters: int) -> Layers:
    """Returns the convolutions before one pooling."""
    blocks = (
        layer_with_activation(layers.Conv2D, model, filters, kernel_size=model.kernel_size, padding=model.padding)
        for _ in range(model.repeat)
    )
    return [layer for block in blocks for layer in block]


def conv1d(model: Conv1dModel, shape: Shape, classes: int) -> Layers:
    """Returns the layers of a convolutional network along the rows of an image, or along the steps of a sequence."""
    return [
        *rows_as_sequence(shape),
        *(
            layer
            for filters in model.filters
            for layer in (
                *layer_with_activation(
                    layers.Conv1D, model, filters, kernel_size=model.kernel_size, padding=model.padding
                ),
                layers.MaxPooling1D(model.pool_size),
                *dropout_layers(model.pool_dropout),
            )
        ),
        layers.Flatten(),
        *hidden_layers(model),
        output_layer(model, classes),
    ]


def recurrent(model: RecurrentModel, shape: Shape, classes: int) -> Layers:
    """Returns the layers of a recurrent network over rows from the top, or over steps; its last state is used."""
    *inner, last = model.recurrent_units
    cell, penalty = CELLS[model.cell], kernel_options(model)
    return [
        *rows_as_sequence(shape),
        *(cell(units, return_sequences=True, **penalty) for units in inner),
        cell(last, **penalty),
        *([layers.BatchNormalization()] if model.batch_normalisation else []),
        *hidden_layers(model),
        output_layer(model, classes),
    ]


def rows_as_sequence(shape: Shape) -> Layers:
    """Returns the layer that reshapes images (h, w, c) to sequences of h rows of w * c features; none for sequences."""
    return [layers.Reshape((shape[0], shape[1] * shape[2]))] if len(shape) == 3 else []


def hidden_layers(model: ModelBase) -> Layers:
    """Returns the hidden dense layers, each followed by its dropout; with `skip` each is a branch.

    Without hidden layers the dropout, if any, applies to the features.
    """
    dropout = [] if model.units else dropout_layers(model.dropout)
    blocks = [
        [
            *layer_with_activation(layers.Dense, model, units),
            *dropout_layers(model.dropout),
        ]
        for units in model.units
    ]
    return blocks if model.skip else [*dropout, *(layer for block in blocks for layer in block)]


def dropout_layers(rate: float) -> Layers:
    """Returns a dropout layer, or nothing if `rate` is 0."""
    return [layers.Dropout(rate)] if rate else []


def layer_with_activation(layer_class: Any, model: ModelBase, width: int, **options: Any) -> Layers:
    """Returns a hidden layer with its activation, and batch normalisation between them if the model has it."""
    options |= kernel_options(model, INPUT_AXES.get(layer_class, 1))
    if not model.batch_normalisation:
        return [layer_class(width, activation=hidden_activation(model), **options)]
    return [
        layer_class(width, use_bias=False, **options),  # the normalisation has a bias
        layers.BatchNormalization(),
        layers.Activation(hidden_activation(model)),
    ]


def output_layer(model: ModelBase, classes: int) -> Any:
    """Returns the last layer, whose output is probabilities, scores, or a number."""
    activation = None if model.output in ("logits", "linear") else model.output
    return layers.Dense(outputs_of(model, classes), activation=activation, dtype="float32")


def hidden_activation(model: ModelBase) -> str | None:
    """Returns Keras's name of the hidden layers' activation, or None for linear layers."""
    return None if model.activation == "none" else model.activation


def kernel_options(model: ModelBase, input_axes: int = 1) -> dict[str, Any]:
    """Returns penalty, initial values and limit of a kernel; `input_axes` of it lead to each unit or filter."""
    options: dict[str, Any] = {"kernel_regularizer": regularizer(model)}
    if model.initializer:
        options["kernel_initializer"] = model.initializer
    if model.constraint:
        limits = model.constraint.model_dump(include={"max_value", "min_value"}, exclude_none=True)
        axes = {} if model.constraint.name == "non_neg" else {"axis": list(range(input_axes))}
        options["kernel_constraint"] = CONSTRAINTS[model.constraint.name](**limits, **axes)
    return options


def regularizer(model: ModelBase) -> Any:
    """Returns the penalty on a layer's weights, or None."""
    return keras.regularizers.L1L2(model.l1, model.l2) if model.l1 or model.l2 else None


NETWORKS: dict[type, Callable[..., Layers]] = {
    DenseModel: dense,
    CnnModel: cnn,
    Conv1dModel: conv1d,
    RecurrentModel: recurrent,
}
