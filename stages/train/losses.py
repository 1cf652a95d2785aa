"""Keras losses and metrics of a model in params.yaml."""

from typing import Any

import keras

from stages.model.config import ModelBase
from stages.model.custom_code import is_code
from stages.model.tasks import encoding_of
from stages.train.custom.parts import make_own_loss

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
    """Returns the Keras loss of the model, for labels encoded by `tasks.encode`."""
    if is_code(model.loss):
        return make_own_loss(model.loss)
    options: dict[str, Any] = {"from_logits": model.output == "logits"} if model.loss in WITH_LOGITS else {}
    if model.label_smoothing:
        options["label_smoothing"] = model.label_smoothing
    return LOSSES[model.loss](**options)


def metric_name(model: ModelBase) -> str:
    """Returns the name of the model's metric: accuracy, or mae (mean absolute error) for a regression."""
    return "mae" if model.task == "regression" else "accuracy"


def make_metric(model: ModelBase) -> Any:
    """Returns the Keras metric called `metric_name(model)`, for encoded labels, without class weights.

    Accuracy is the fraction of samples whose largest output is at the label. For two_class it is the fraction on the
    correct side of the threshold: 0.5 for probabilities, 0 for scores.
    """
    name = metric_name(model)
    if model.task == "regression":
        return keras.metrics.MeanAbsoluteError(name=name)
    if encoding_of(model) == "integer":
        return keras.metrics.SparseCategoricalAccuracy(name=name)
    if model.task == "multiclass":
        return keras.metrics.CategoricalAccuracy(name=name)  # compares argmax: labels may be -1 and 1
    return keras.metrics.BinaryAccuracy(name=name, threshold=0.5 if model.output == "sigmoid" else 0.0)
