"""The figures for programs: metrics.csv, metrics.json, metrics.parquet, and the data of DVC's plots."""

import io
import math
from typing import Any

import pandas as pd

from stages.report.facts import Facts
from stages.report.models.model_facts import ModelFacts
from stages.report.page.plots import scores_picture

CALIBRATION = ["confidence", "accuracy", "low95", "high95", "images"]


def metrics(facts: Facts) -> pd.DataFrame:
    """Returns a row for each model, the best on the validation part first; accuracies as shares, the gap in points."""
    return pd.DataFrame([_row(model) for model in facts.models])


def metrics_json(facts: Facts) -> dict[str, dict[str, float]]:
    """Returns a few figures of each model, which `dvc exp show` shows and `dvc metrics diff` compares."""
    return {
        model.name: {key: value for key, value in model.summary_metrics.items() if math.isfinite(value)}
        for model in sorted(facts.models, key=lambda model: model.name)
    }


def metrics_parquet(facts: Facts) -> bytes:
    """Returns the table of `metrics` as Parquet."""
    buffer = io.BytesIO()
    metrics(facts).to_parquet(buffer, index=False)
    return buffer.getvalue()


def plots(facts: Facts) -> dict[str, pd.DataFrame]:
    """Returns the tables that `dvc plots diff` draws, by file name.

    A score of each model; recall of each class and calibration of the classifier that the validation part chooses.
    """
    scores = sorted((model.name, model.test_metrics[model.plot_metric]) for model in facts.models)
    recall, bins = pd.DataFrame(columns=["class", "recall"]), pd.DataFrame(columns=CALIBRATION)
    for best in facts.lead_classifiers[:1]:
        recall = pd.DataFrame({"class": best.class_names, "recall": best.scores.classes["recall"]})
        bins = best.scores.reliability[CALIBRATION]
    return {
        "scores.csv": pd.DataFrame(scores, columns=["model", "score"]),
        "recall.csv": recall,
        "reliability.csv": bins,
    }


def picture(facts: Facts) -> bytes:
    """Returns a PNG of the leading group's scores with their intervals, for pages that show no HTML."""
    models = facts.lead.models
    names, scores = [model.name for model in models], [model.score for model in models]
    return scores_picture(names, scores, [model.interval for model in models], facts.lead.best.score_name)


def _row(model: ModelFacts) -> dict[str, Any]:
    return {
        "model": model.name,
        **model.metrics,
        "network": model.params.network,
        "epochs": model.training.epochs,
        "batch_size": model.params.batch_size,
        "optimizer": model.params.optimizer.name,
        "task": model.training.task,
    }
