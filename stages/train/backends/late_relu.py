"""ReLU after max-pooling in place of before it: the same bits for a fraction of the elements.

ReLU is monotone, so it commutes with a maximum; rounding to bfloat16 is monotone too. The gradients are the same bits:
both orders pass a gradient to the largest value of a window if that is above 0, and 0 to all others.

    convolution ─ ReLU ─ pooling    ->    convolution ─ pooling ─ ReLU
"""

from collections import Counter
from typing import Any

import keras
import tensorflow as tf
from keras import ops


def with_late_relu(network: Any) -> Any:
    """Returns the same layers and variables, with each ReLU that only a max-pooling reads behind the pooling.

    On a GPU, where this was not measured, the network stays as it is.
    """
    replacements = {} if tf.config.get_visible_devices("GPU") else dict(_replacements(network))
    if not replacements:
        return network
    return keras.models.clone_model(network, clone_function=lambda layer: replacements.get(layer.name, layer))


def _replacements(network: Any) -> list[tuple[str, Any]]:
    """Returns layers that take the place of others, by name: two for each ReLU that only a max-pooling reads."""
    read = Counter(id(tensor) for layer in network.layers for tensor in _tensors(layer, "input"))
    read.update(id(tensor) for tensor in network.outputs)
    with_relu = {id(layer.output): layer for layer in network.layers if _ends_in_relu(layer)}
    found = []
    for pooling in network.layers:
        if type(pooling) is keras.layers.MaxPooling2D:
            for tensor in _tensors(pooling, "input"):
                if id(tensor) in with_relu and read[id(tensor)] == 1:
                    layer = with_relu[id(tensor)]
                    found += [(layer.name, WithoutRelu(layer)), (pooling.name, PoolingWithRelu(pooling))]
    return found


def _ends_in_relu(layer: Any) -> bool:
    is_known = type(layer) in (keras.layers.Conv2D, keras.layers.Activation)
    return is_known and layer.activation is keras.activations.relu and len(_tensors(layer, "output")) == 1


def _tensors(layer: Any, end: str) -> list[Any]:
    """Returns the tensors at the `input` or `output` of a layer; none if the network calls it more than once."""
    try:
        return list(keras.tree.flatten(getattr(layer, end)))
    except (AttributeError, ValueError):
        return []


class WithoutRelu(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type hints
    """Computes a Conv2D or an Activation, `plain`, with its variables, but without its activation."""

    def __init__(self, plain: Any) -> None:
        super().__init__(name=f"linear_{plain.name}", dtype=plain.dtype_policy)
        self.plain = plain
        self.built = True

    def call(self, images: Any) -> Any:
        """Returns the values before the activation (n, h, w, filters)."""
        plain = self.plain
        if isinstance(plain, keras.layers.Activation):
            return images
        values = plain.convolution_op(images, plain.kernel)
        return ops.add(values, ops.reshape(plain.bias, (1, 1, 1, -1))) if plain.use_bias else values


class PoolingWithRelu(keras.layers.Layer):  # type: ignore[misc]  # the same
    """Computes a MaxPooling2D, `plain`, and then ReLU."""

    def __init__(self, plain: Any) -> None:
        super().__init__(name=f"relu_{plain.name}", dtype=plain.dtype_policy)
        self.plain = plain
        self.built = True

    def call(self, images: Any) -> Any:
        """Returns the largest values of the windows of `images` (n, h, w, c), or 0 where they are negative."""
        return ops.relu(self.plain.call(images))
