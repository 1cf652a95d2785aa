"""Metrics of a model in params.yaml beside loss and accuracy: their names, and the tasks that they fit."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from stages.model.compatibility import TaskName
from stages.model.custom_code import object_name

CLASSIFICATION: tuple[TaskName, ...] = ("multiclass", "two_class")
# Keras's names in snake case, and the tasks that each one fits.
METRICS: dict[str, tuple[TaskName, ...]] = {
    "accuracy": CLASSIFICATION,
    "precision": CLASSIFICATION,
    "recall": CLASSIFICATION,
    "auc": CLASSIFICATION,
    "f1_score": CLASSIFICATION,
    "true_positives": CLASSIFICATION,
    "true_negatives": CLASSIFICATION,
    "false_positives": CLASSIFICATION,
    "false_negatives": CLASSIFICATION,
    "top_k_categorical_accuracy": ("multiclass",),
    "categorical_crossentropy": ("multiclass",),
    "binary_crossentropy": ("two_class",),
    "mean_absolute_error": ("regression",),
    "mean_squared_error": ("regression",),
    "root_mean_squared_error": ("regression",),
    "mean_absolute_percentage_error": ("regression",),
    "mean_squared_logarithmic_error": ("regression",),
    "log_cosh_error": ("regression",),
    "r2_score": ("regression",),
}
KNOWN_COLUMNS = ("epoch", "loss", "accuracy", "mae")  # of history.csv, as are `val_loss` and so on
ALWAYS_WATCHED = ("accuracy", "mean_absolute_error")  # the first metric of a training, whatever `metrics` has


def _check_name(name: str) -> str:
    if name not in METRICS:
        expected = ", ".join(f"'{known}'" for known in METRICS)
        raise PydanticCustomError("literal_error", "unknown metric", {"expected": expected})
    return name


MetricName = Annotated[str, AfterValidator(_check_name), WithJsonSchema({"enum": list(METRICS)})]


def further_metrics(metrics: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the columns of `metrics` in history.csv, without those that every training watches."""
    return tuple(object_name(name) for name in metrics or () if name not in ALWAYS_WATCHED)


def metric_errors(metrics: Sequence[str], task: TaskName, values: Sequence[float], top_k: int | None) -> list[str]:
    """Returns a message for each metric that does not fit.

    Args:
        metrics: names, each one of METRICS.
        task: the model's task.
        values: the target values of a regression.
        top_k: the key `top_k`.
    """
    choice = ", ".join(name for name, tasks in METRICS.items() if task in tasks)
    messages = [
        f"`metrics` has {name}, which is not compatible with `task: {task}`: {_reason(name, task)}; "
        f"choose from {choice}"
        for name in metrics
        if name in METRICS and task not in METRICS[name]
    ]
    names = [*KNOWN_COLUMNS, *further_metrics(metrics)]
    columns = [*names, *(f"val_{name}" for name in names)]
    twice = [name for name in map(object_name, metrics) if columns.count(name) > 1 or metrics.count(name) > 1]
    messages += [f"`metrics` has {name} twice; remove or rename one" for name in twice[:1]]
    if "mean_absolute_percentage_error" in metrics and 0.0 in values:
        messages.append(
            "`metrics` has mean_absolute_percentage_error, which divides by the target, but a label has the value 0; "
            "set `values` without 0"
        )
    if "mean_squared_logarithmic_error" in metrics and min(values, default=0.0) < 0:
        messages.append(
            "`metrics` has mean_squared_logarithmic_error, which takes logarithms, but a label has the value "
            f"{min(values):g}; set `values` of 0 or more"
        )
    if top_k is not None and "top_k_categorical_accuracy" not in metrics:
        messages.append("`top_k` is for top_k_categorical_accuracy, which is not in `metrics`; add it")
    return messages


def _reason(name: str, task: TaskName) -> str:
    if task == "regression":
        return "it compares classes, and a regression has none"
    if METRICS[name] == ("regression",):
        return "it measures the distance between values, and this task has classes"
    return "it needs one output per class" if task == "two_class" else "it needs a single output"
