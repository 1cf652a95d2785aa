"""The scores of a version: which model its validation scores choose, and its test score with an interval."""

import math
from collections.abc import Mapping
from typing import Any

from stages.report.comparability import LOSS_KEYS
from stages.report.statistics.intervals import wilson_interval

SMALLER = ("loss", "error", "err", "mae", "mse", "rmse", "mape", "perplexity", "wer", "cer", "time", "latency")
VALIDATION = ("val", "valid", "validation", "dev", "cv")
TEST = ("test",)


def model_scores(model: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the scores of a model for the page.

    Returns:
        `loss`, `accuracy`, `mae`: on the validation part. `low`, `high`: 95% interval of the validation error.
        `test`: `errors`, `samples`, `rate`, `low`, `high` of a classifier, `mae` of a regression.
    """
    validation, test = model.get("validation") or {}, model.get("test") or {}
    scores: dict[str, Any] = {key: _finite(validation.get(key)) for key in ("loss", "accuracy", "mae")}
    samples, accuracy = validation.get("samples"), scores["accuracy"]
    if samples and accuracy is not None and 0 <= accuracy <= 1:
        interval = wilson_interval(round((1 - accuracy) * samples), samples)
        scores |= {"low": _rounded(interval.low), "high": _rounded(interval.high)}
    scores["test"] = _test_scores(test)
    return {key: value for key, value in scores.items() if value is not None}


def _test_scores(test: Mapping[str, Any]) -> dict[str, Any] | None:
    if (error := _finite(test.get("mae"))) is not None:
        return {"mae": error}  # of a regression, whose errors are those of the nearest labels
    errors, samples = test.get("errors"), test.get("samples")
    if isinstance(errors, int) and isinstance(samples, int) and 0 <= errors <= samples and samples:
        interval = wilson_interval(errors, samples)
        ends = {"low": _rounded(interval.low), "high": _rounded(interval.high)}
        return {"errors": errors, "samples": samples, "rate": _rounded(errors / samples), **ends}
    return None


def best_model(models: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> str:
    """Returns the model that the validation scores choose; empty if none has one.

    By the loss if all models have the same loss function, else by the accuracy, or by the mean absolute error.
    """
    losses = {_loss_function(name, params) for name in models}
    keys = ("loss", "accuracy", "mae") if len(losses) <= 1 else ("accuracy", "mae", "loss")
    for key in keys:
        scored = {name: model[key] for name, model in models.items() if key in model}
        if scored and (len(scored) == len(models) or key == keys[-1] or key == "accuracy"):
            sign = -1 if key == "accuracy" else 1
            return min(scored, key=lambda name: (sign * scored[name], name))
    return ""


def _loss_function(model: str, params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns what decides the values of a model's loss; sparse labels only encode the same loss differently."""
    head = f"models.{model}."
    own = {key.removeprefix(head): value for key, value in params.items() if key.startswith(head)}
    return tuple((k, str(own[k]).removeprefix("sparse_")) for k in sorted(own) if k.partition(".")[0] in LOSS_KEYS)


def metric_names(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the metrics of a project of another form, those of a validation part first, with their directions.

    Metrics that are named after a test choose nothing, and are last.
    """
    names = dict.fromkeys(name for row in reversed(rows) for name in row["metrics"])
    return [
        {"name": name, "smaller": is_smaller_better(name), "chooses": _rank(name) < 2}
        for name in sorted(names, key=lambda name: (_rank(name), list(names).index(name)))
    ]


def is_smaller_better(name: str) -> bool:
    """Returns whether the name of a metric says that smaller values are better."""
    words = _words(name)
    return any(word in SMALLER or word.endswith(("loss", "error")) for word in words)


def _rank(name: str) -> int:
    words = _words(name)
    return 0 if any(word in VALIDATION for word in words) else 2 if any(word in TEST for word in words) else 1


def _words(name: str) -> list[str]:
    return "".join(letter.lower() if letter.isalnum() else " " for letter in name.rpartition(":")[2]).split()


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return _rounded(float(value)) if is_number else None


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
