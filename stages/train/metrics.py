"""Keras metrics of a model beside loss and accuracy, for any encoding of the labels and any output."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from stages.model.config import ModelBase
from stages.model.custom_code import is_code, object_name
from stages.model.metrics_config import ALWAYS_WATCHED, further_metrics
from stages.model.tasks import encoding_of
from stages.train.custom.parts import make_own_metric

Convert = Callable[[Any], Any]

METRICS: dict[str, Callable[[], Any]] = {
    "precision": keras.metrics.Precision,
    "recall": keras.metrics.Recall,
    "auc": keras.metrics.AUC,
    "true_positives": keras.metrics.TruePositives,
    "true_negatives": keras.metrics.TrueNegatives,
    "false_positives": keras.metrics.FalsePositives,
    "false_negatives": keras.metrics.FalseNegatives,
    "categorical_crossentropy": keras.metrics.CategoricalCrossentropy,
    "binary_crossentropy": keras.metrics.BinaryCrossentropy,
    "mean_squared_error": keras.metrics.MeanSquaredError,
    "root_mean_squared_error": keras.metrics.RootMeanSquaredError,
    "mean_absolute_percentage_error": keras.metrics.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": keras.metrics.MeanSquaredLogarithmicError,
    "log_cosh_error": keras.metrics.LogCoshError,
    "r2_score": keras.metrics.R2Score,
}


def make_further_metrics(model: ModelBase) -> list[Any]:
    """Returns the Keras metrics of the model's `metrics`, in their order, without those that it has anyway."""
    names = [name for name in model.metrics or [] if name not in ALWAYS_WATCHED]
    return [Converted(_make(name, model), model, object_name(name)) for name in names]


def metric_values(results: dict[str, Any], model: ModelBase) -> Sequence[float]:
    """Returns the values of `further_metrics` from Keras's results, by name."""
    return [float(results[name]) for name in further_metrics(model.metrics)]


class Converted(keras.metrics.Metric):  # type: ignore[misc]  # Keras has no type hints
    """Feeds `inner` with targets and predictions as metrics expect them.

    Targets are one-hot (n, classes), for two_class 0 or 1 (n, 1), for a regression values (n, 1). Predictions of
    classes are probabilities; those of scores are what the exported model makes of them.
    """

    def __init__(self, inner: Any, model: ModelBase, name: str) -> None:
        super().__init__(name=name)
        self.inner = inner
        self._encoding, self._scores = encoding_of(model), model.output == "logits"
        self._multiclass = model.task == "multiclass"

    def update_state(self, targets: Any, outputs: Any, sample_weight: Any = None) -> Any:
        """Adds a batch; weights are not used, as in the accuracy."""
        outputs = ops.cast(outputs, "float32")
        if self._encoding == "integer":
            targets = ops.one_hot(ops.reshape(targets, (-1,)), outputs.shape[-1])
        elif self._encoding == "signs":
            targets = (targets + 1) / 2
        if self._scores:
            outputs = ops.softmax(outputs) if self._multiclass else ops.sigmoid(outputs)
        return self.inner.update_state(ops.cast(targets, "float32"), outputs)

    def result(self) -> Any:
        """Returns the value over all batches since the last reset."""
        return self.inner.result()

    def reset_state(self) -> None:
        """Forgets all batches."""
        self.inner.reset_state()


def _make(name: str, model: ModelBase) -> Any:
    if is_code(name):
        return make_own_metric(name)
    if name == "top_k_categorical_accuracy":
        return keras.metrics.TopKCategoricalAccuracy(model.top_k or 5)
    if name == "f1_score":
        return keras.metrics.F1Score("macro", threshold=0.5 if model.task == "two_class" else None)
    return METRICS[name]()
