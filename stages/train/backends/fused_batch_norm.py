"""Batch normalisation in one TensorFlow kernel: Keras takes several steps, each of which reads the whole batch."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


def with_fused_batch_norm(network: Any) -> Any:
    """Returns the same layers, those that normalise images with a fused kernel; the network itself if it has none.

    On a GPU the network stays as it is: the kernel was not measured there.
    """
    if tf.config.get_visible_devices("GPU") or not any(map(_can_be_fused, network.layers)):
        return network
    return keras.models.clone_model(
        network, clone_function=lambda layer: FusedBatchNormalization(layer) if _can_be_fused(layer) else layer
    )


def _can_be_fused(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.input_spec.ndim == 4


class FusedBatchNormalization(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type hints
    """Computes a Keras BatchNormalization layer, `plain`, with its variables, in one kernel during training."""

    def __init__(self, plain: Any) -> None:
        super().__init__(name=f"fused_{plain.name}", dtype=plain.dtype_policy)
        self.plain = plain
        self.built = True

    def call(self, images: Any, training: bool = False, **_: Any) -> Any:  # functional models pass a mask, None
        """Returns images (n, h, w, c) normalised by the batch's statistics in training, else by the moving ones."""
        plain = self.plain
        if not training:
            return plain(images, training=False)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=ops.cast(plain.gamma, "float32"),
            offset=ops.cast(plain.beta, "float32"),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=plain.epsilon,
        )
        values = ops.cast(ops.size(images) // ops.size(mean), "float32")  # per channel
        self._update(plain.moving_mean, mean)
        self._update(plain.moving_variance, variance * (values - 1) / values)  # the kernel divides by values - 1
        return outputs

    def _update(self, moving: Any, value: Any) -> None:
        moving.assign(moving * self.plain.momentum + value * (1 - self.plain.momentum))
