"""The figures for programs: metrics.csv, .parquet and .json, models.json, and the data of DVC's plots."""

import io
import math
from typing import Any

import pandas as pd

from stages.report.facts import Facts, ModelGroup
from stages.report.formats import ends_text
from stages.report.gates import GateResults
from stages.report.model_comparison import verdict
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.trivial import NAME
from stages.report.page.plots import scores_picture

CALIBRATION = ["confidence", "accuracy", "low95", "high95", "images"]


def metrics(facts: Facts) -> pd.DataFrame:
    """Returns a row for each model, the best on the validation part first; accuracies as shares, the gap in points.

    The models of each task are followed by the trivial answer to the same test samples.
    """
    rows = [row for group in facts.groups for row in (*map(_row, group.models), _trivial_row(group))]
    counts = {key for row in rows for key, value in row.items() if isinstance(value, int)}
    counts -= {key for row in rows for key, value in row.items() if not isinstance(value, int)}
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))  # has gaps: the trivial answer has no epochs


def metrics_json(facts: Facts, results: GateResults) -> dict[str, str | float]:
    """Returns the best model of the first task, its scores and the gates: `dvc metrics show reports/metrics.json`.

    It names no model where the validation part chooses none. It is flat and has few keys: DVC's tables have a column
    for each key of each metrics file, and those of evaluation/*/metrics.json are among them.
    """
    chosen: dict[str, str | float] = {}
    if best := facts.lead.chosen:
        scores = {"validation_loss": best.metrics["validation_loss"], best.summary_columns[0]: best.score}
        chosen = {"best": best.name, **{key: value for key, value in scores.items() if math.isfinite(value)}}
    return {**chosen, "trivial": facts.lead.trivial.score, "gates": results.summary}


def models_json(facts: Facts) -> dict[str, dict[str, float]]:
    """Returns a few figures of each model, for programs; `dvc metrics diff --targets` compares them."""
    return {
        model.name: {key: value for key, value in model.summary_metrics.items() if math.isfinite(value)}
        for model in sorted(facts.models, key=lambda model: model.name)
    }


def ranking_json(facts: Facts) -> dict[str, Any]:
    """Returns the verdict and the ranking of each task with intervals as texts, the trivial answer last."""
    tasks = []
    for group in facts.groups:
        form, trivial = group.best.format_score, group.trivial
        rows = [(model.name, model.score, model.interval) for model in group.models]
        rows.append((NAME, trivial.score, trivial.interval))
        texts = [{"model": name, "score": form(score), "interval": ends_text(ends, form)} for name, score, ends in rows]
        tasks.append({"score": group.best.score_name.lower(), "trivial": trivial.answer, "rows": texts})
    return {"verdict": verdict(facts.lead).headline, "tasks": tasks}


def metrics_parquet(facts: Facts) -> bytes:
    """Returns the table of `metrics` as Parquet."""
    buffer = io.BytesIO()
    metrics(facts).to_parquet(buffer, index=False)
    return buffer.getvalue()


def plots(facts: Facts) -> dict[str, pd.DataFrame]:
    """Returns the tables that `dvc plots diff` draws, by file name.

    A score of each model; recall of each class and calibration of the classifier that the validation part chooses, if
    it chooses one.
    """
    scores = sorted((model.name, model.test_metrics[model.plot_metric]) for model in facts.models)
    recall, bins = pd.DataFrame(columns=["class", "recall"]), pd.DataFrame(columns=CALIBRATION)
    best = facts.lead.chosen
    if isinstance(best, Classifier):
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


def _trivial_row(group: ModelGroup) -> dict[str, Any]:
    return {"model": NAME, **group.trivial.metrics, "task": group.best.training.task}


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
