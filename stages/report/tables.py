"""The same facts for programs: metrics.csv, .json and .parquet, and what DVC plots."""

import io
import math
from typing import Any

import pandas as pd

from stages.report.facts import Facts, Group
from stages.report.model_facts import ModelFacts, Trained, ValueFacts
from stages.report.page.plots import scores_picture

CALIBRATION = ["confidence", "accuracy", "low95", "high95", "images"]


def metrics(facts: Facts) -> pd.DataFrame:
    """A row for each model, the best first; accuracies as shares, the gap in points."""
    return pd.DataFrame([_row(model) for model in facts.models])


def metrics_json(facts: Facts) -> dict[str, dict[str, float]]:
    """The numbers that `dvc metrics diff` compares, by model; no text, nothing that is not a number."""
    return {
        model.name: {key: value for key, value in _scores(model).items() if _is_number(value)}
        for model in _named(facts)
    }


def metrics_parquet(facts: Facts) -> bytes:
    """The table as Parquet."""
    buffer = io.BytesIO()
    metrics(facts).to_parquet(buffer, index=False)
    return buffer.getvalue()


def plots(facts: Facts) -> dict[str, pd.DataFrame]:
    """What `dvc plots diff` draws: a score of each model; recall by class and calibration of the leading one."""
    classifiers = [(model.name, model.exam.accuracy) for model in facts.classifiers]
    values = [(model.name, model.explained) for model in facts.regressions]
    recall, bins = pd.DataFrame(columns=["class", "recall"]), pd.DataFrame(columns=CALIBRATION)
    if facts.groups:
        best = facts.groups[0].best
        recall = pd.DataFrame({"class": best.class_names, "recall": best.scores.classes["recall"]})
        bins = best.scores.reliability[CALIBRATION]
    scores = pd.DataFrame(sorted(classifiers + values), columns=["model", "score"])
    return {"scores.csv": scores, "recall.csv": recall, "reliability.csv": bins}


def picture(facts: Facts) -> bytes:
    """PNG of the leading group's scores with their intervals, for pages that show no HTML."""
    group = facts.lead
    names, intervals = [model.name for model in group.models], [model.interval for model in group.models]
    if isinstance(group, Group):
        return scores_picture(names, [model.exam.accuracy for model in group.models], intervals, "Test accuracy")
    return scores_picture(names, [model.mean_error for model in group.models], intervals, "Mean absolute error")


def _named(facts: Facts) -> list[Trained]:
    return sorted(facts.models, key=lambda model: model.name)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _row(model: Trained) -> dict[str, Any]:
    return {
        "model": model.name,
        **_scores(model),
        "network": model.params.network,
        "epochs": model.training.epochs,
        "batch_size": model.params.batch_size,
        "optimizer": model.params.optimizer.name,
        "task": model.training.task,
    }


def _scores(model: Trained) -> dict[str, Any]:
    """The numbers of a model, those of its kind."""
    training = model.training
    common = {
        "training_loss": training.train.loss,
        "validation_loss": training.validation.loss,
        "parameters": training.parameters,
        "onnx_bytes": model.onnx.size,
    }
    if isinstance(model, ModelFacts):
        return _of_classes(model) | common
    assert isinstance(model, ValueFacts)  # there is no third kind
    return {
        "mean_absolute_error": model.mean_error,
        "mean_absolute_error_low": model.interval.low,
        "mean_absolute_error_high": model.interval.high,
        "root_mean_squared_error": model.root_error,
        "r2": model.explained,
        "test_samples": len(model.misses),
    } | common


def _of_classes(model: ModelFacts) -> dict[str, Any]:
    exam, scores = model.exam, model.scores
    return {
        "test_accuracy": exam.accuracy,
        "test_accuracy_low": model.interval.low,
        "test_accuracy_high": model.interval.high,
        "test_loss": exam.loss,
        "test_errors": exam.errors,
        "test_samples": exam.samples,
        "brier": scores.brier,
        "macro_f1": scores.macro_f1,
        "calibration_error": scores.calibration_error,
        "training_accuracy": model.training_accuracy,
        "validation_accuracy": model.training.validation.accuracy,
        "gap_points": model.gap,
    }
