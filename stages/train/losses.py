"""Keras's losses and metrics for what params.yaml names."""

from typing import Any

import keras

from stages.model.config import ModelBase
from stages.model.tasks import encoding_of

LOSSES = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "kl_divergence": keras.losses.KLDivergence,
    "poisson": keras.losses.Poisson,
    "mean_squared_error": keras.losses.MeanSquaredError,
    "mean_absolute_error": keras.losses.MeanAbsoluteError,
    "mean_absolute_percentage_error": keras.losses.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": keras.losses.MeanSquaredLogarithmicError,
    "log_cosh": keras.losses.LogCosh,
    "hinge": keras.losses.Hinge,
    "squared_hinge": keras.losses.SquaredHinge,
    "categorical_hinge": keras.losses.CategoricalHinge,
    "cosine_similarity": keras.losses.CosineSimilarity,
}
WITH_LOGITS = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")


def make_loss(model: ModelBase) -> Any:
    """Keras loss for the model's output; labels are to be written as `tasks.encode` writes them."""
    options: dict[str, Any] = {"from_logits": model.output == "logits"} if model.loss in WITH_LOGITS else {}
    if model.label_smoothing:
        options["label_smoothing"] = model.label_smoothing
    return LOSSES[model.loss](**options)


def metric_name(model: ModelBase) -> str:
    """What is watched beside the loss: accuracy, or the mean absolute error (mae) of a regression."""
    return "mae" if model.task == "regression" else "accuracy"


def make_metric(model: ModelBase) -> Any:
    """Keras metric called `metric_name`: of encoded labels and outputs, without weights of classes.

    Accuracy is the share of samples whose largest output is at the label, or of two_class that lie on the right
    side: of 0.5 for probabilities, of 0 for scores.
    """
    name, encoding = metric_name(model), encoding_of(model)
    if model.task == "regression":
        return keras.metrics.MeanAbsoluteError(name=name)
    if encoding == "integer":
        return keras.metrics.SparseCategoricalAccuracy(name=name)
    if model.task == "multiclass":
        return keras.metrics.CategoricalAccuracy(name=name)  # arg-max on both sides: -1 and 1 will do
    return keras.metrics.BinaryAccuracy(name=name, threshold=0.5 if model.output == "sigmoid" else 0.0)
