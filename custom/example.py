"""One function or class of each kind that a model in params.yaml can name; docs/custom-models.md uses them."""

import keras
from keras import layers, ops


def build(shape, classes, width=32):
    """Returns a small residual network; `width` comes from `arguments` of the model."""
    images = keras.Input(shape)
    features = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(images)
    inner = layers.Conv2D(width, 3, padding="same", activation="relu")(features)
    inner = layers.Conv2D(width, 3, padding="same")(inner)
    features = layers.ReLU()(layers.Add()([features, inner]))
    features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.Dense(classes, activation="softmax")(features), name="residual")


def focal_loss(targets, outputs):
    """Returns the cross-entropy of each sample, less for samples that are right already (Lin et al. 2017)."""
    right = ops.sum(targets * outputs, axis=-1)
    return -((1 - right) ** 2) * ops.log(right + 1e-7)


def confidence(targets, outputs):
    """Returns the probability of the predicted class of each sample."""
    return ops.max(outputs, axis=-1)


def optimizer(learning_rate=0.01):
    """Returns Lion, which params.yaml does not know by name."""
    return keras.optimizers.Lion(learning_rate)


class StopWhenGood(keras.callbacks.Callback):
    """Stops the training when the validation accuracy is 0.99."""

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the line of history.csv."""
        self.model.stop_training = logs.get("val_accuracy", 0) >= 0.99
