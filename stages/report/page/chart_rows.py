"""The charts of a page: their rows, their texts for screen readers, and their SVG elements."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from stages.report import model_comparison, sentences
from stages.report.facts import ModelGroup
from stages.report.formats import file_size, known_number, number, percent
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.regressor import Regressor
from stages.report.page import charts
from stages.report.page.axis import LOG_FACTOR, axis_of
from stages.report.statistics.residuals import by_value
from stages.report.statistics.smoothing import min_smoothed_epochs, smooth
from stages.report.statistics.thresholds import STEPS, Thresholds

COLUMNS, ROWS = 40, 40  # of the cells of a regression's errors


class Curve(NamedTuple):
    """A quantity of the training by epoch; values are null where they are unknown or not finite."""

    quantity: str
    title: str
    shares: bool
    logarithmic: bool
    parts: dict[str, list[float | None]]
    smooth: dict[str, list[float | None]]
    best: int | None

    def rows(self, model: str) -> list[dict[str, Any]]:
        """The rows of the chart."""
        rows: list[dict[str, Any]] = []
        for part, values in self.parts.items():
            smoothed = self.smooth.get(part) or [None] * len(values)
            rows += [
                {"model": model, "part": part, "epoch": epoch, "value": value, "smooth": even}
                for epoch, (value, even) in enumerate(zip(values, smoothed, strict=True), 1)
            ]
        if self.best is not None and rows:
            rows[0] |= {"best": self.best, "mark": f"best {self.best}"}
        return rows


def learning_curves(model: ModelFacts, smoothing: float) -> Iterator[Curve]:
    """Yields each learning curve of `model`, smoothed where its history is long enough."""
    factor = smoothing if len(model.history) >= min_smoothed_epochs(smoothing) else None
    for quantity in map(str, model.history):
        if quantity == "epoch" or f"val_{quantity}" not in model.history:
            continue
        columns = {"validation": model.history[f"val_{quantity}"], "training": model.history[quantity]}
        parts = {part: _finite(values) for part, values in columns.items()}
        even = {} if factor is None else {part: _finite(smooth(values, factor)) for part, values in columns.items()}
        known = [value for values in parts.values() for value in values if value is not None]
        wide = bool(known) and min(known) > 0 and max(known) > charts.LARGE_RANGE * min(known)
        title, best = sentences.curve_title(model, quantity), sentences.best_epoch(model)
        yield Curve(quantity, title, quantity == "accuracy", wide, parts, even, best)


def curve_figures(model: ModelFacts, smoothing: float) -> Iterator[tuple[str, str, Markup]]:
    """Yields quantity, alternative text and SVG of each learning curve."""
    for curve in learning_curves(model, smoothing):
        spec = charts.curve(curve.title, shares=curve.shares, logarithmic=curve.logarithmic)
        yield (
            curve.quantity,
            sentences.curve_description(model, curve.quantity),
            charts.inline(spec, curve.rows(model.name)),
        )


def _finite(values: Any) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in map(float, values)]


def cost_rows(group: ModelGroup) -> list[dict[str, Any]]:
    """Returns the models of `group` with their errors and the costs that do not depend on the machine."""
    leaders = model_comparison.leaders(group)
    smallest = 0.5 / len(group.best.predictions)
    return [
        {
            "model": model.name,
            "error": max(smallest, round(1 - model.score, 6)) if group.best.larger_is_better else model.score,
            "score": model.format_score(model.score),
            "leads": model.name in leaders,
            "size": model.onnx.size / 1e6,
            "parameters": model.training.parameters,
            "epochs": model.training.epochs,
        }
        for model in group.models
    ]


def cost_spec(group: ModelGroup) -> charts.Spec:
    """Returns the chart of score by size of `group`.

    The scale of the scores is that of the ranking where their own would hold fewer than two numbers, as with one model.
    """
    rows, axis = cost_rows(group), axis_of(group)
    errors, costs = [row["error"] for row in rows], [row["size"] for row in rows]
    low, high = min(errors), max(errors)
    is_wide = sum(low <= error <= high for error in axis.tick_errors) > 1
    return charts.cost(
        group.best.score_name,
        axis.tick_errors,
        "size of the model, MB",
        shares=group.best.larger_is_better,
        ends=None if is_wide else (min(axis.low, low), max(axis.high, high)),
        log_score=low > 0 and (high > LOG_FACTOR * low if is_wide else axis.logarithmic),
        log_cost=max(costs) > LOG_FACTOR * min(costs) > 0,
    )


def cost_figure(group: ModelGroup) -> Markup:
    """Returns the SVG of score by size."""
    rows, least = [], float("inf")
    for row in sorted(cost_rows(group), key=lambda row: (row["size"], row["error"])):
        rows.append(row | {"cost": row["size"], "cost text": f"{row['size']:.2f} MB", "pareto": row["error"] < least})
        least = min(least, row["error"])
    return charts.inline(cost_spec(group), rows)


def cost_description(group: ModelGroup) -> str:
    """Returns the alternative text of score by size."""
    models = [
        f"{model.name} {model.format_score(model.score)} at {file_size(model.onnx.size)}" for model in group.models
    ]
    more = f"; {len(models) - 8} more in the table" if len(models) > 8 else ""
    return f"{group.best.score_name} by size of the model: {'; '.join(models[:8])}{more}"


def reliability_rows(model: Classifier) -> list[dict[str, Any]]:
    """Returns the bins of the predicted probability."""
    return [
        {
            **{key: round(float(row[key]), 5) for key in ("confidence", "accuracy", "low95", "high95", "low", "high")},
            "count": int(row["images"]),
            "probability": f"{row['low']:.0%} to {row['high']:.0%}",
            "right": percent(float(row["accuracy"])),
        }
        for _, row in model.scores.reliability.iterrows()
    ]


def reliability_figure(model: Classifier) -> Markup:
    """Returns the SVG of accuracy by probability."""
    return charts.inline(charts.reliability(model.noun), reliability_rows(model))


def rate_specs(model: Classifier, counts: Thresholds) -> dict[str, charts.Spec]:
    """Returns the chart of the ROC and of the precision-recall curve."""
    base = counts.positives / (counts.positives + counts.negatives)
    return {
        "roc": charts.rates("ROC curve", "false positive rate", "recall", [(0, 0), (1, 1)]),
        "pr": charts.rates("Precision by recall", "recall", "precision", [(0, base), (1, base)]),
    }


def rate_rows(counts: Thresholds) -> dict[str, list[dict[str, Any]]]:
    """Returns the points of both curves, in order."""
    curves = {"roc": counts.roc, "pr": counts.pr}
    return {name: [{"x": x, "y": y, "n": n} for n, (x, y) in enumerate(points)] for name, points in curves.items()}


def rate_figures(model: Classifier, counts: Thresholds) -> Iterator[tuple[str, str, Markup]]:
    """Yields name, alternative text and SVG of the two curves, with the point at the threshold 0.5."""
    true, false = counts.true_positives[STEPS // 2], counts.false_positives[STEPS // 2]
    recall, rows = true / max(1, counts.positives), rate_rows(counts)
    now = {
        "roc": {"x": false / max(1, counts.negatives), "y": recall},
        "pr": {"x": recall, "y": true / max(1, true + false)},
    }
    texts = {
        "roc": f"ROC curve of {model.name}, area {known_number(counts.roc_area)}",
        "pr": f"Precision by recall of {model.name}, average precision {known_number(counts.average_precision)}",
    }
    for name, spec in rate_specs(model, counts).items():
        yield name, texts[name], charts.inline(spec, rows[name], now=[now[name]])


def residual_rows(model: Regressor) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns cells of the errors by true value, with the square root of their share of samples, and the bias."""
    true = model.labels.astype(np.float64)
    errors = model.values.astype(np.float64) - true
    columns = np.unique(true)
    if len(columns) > COLUMNS:
        columns = np.linspace(true.min(), true.max(), COLUMNS)
    nearest = np.searchsorted((columns[1:] + columns[:-1]) / 2, true)
    counts, _, edges = np.histogram2d(nearest, errors, (np.arange(len(columns) + 1) - 0.5, ROWS))
    cells = [
        {
            "true": float(f"{columns[column]:.6g}"),
            "error": float(f"{(edges[row] + edges[row + 1]) / 2:.4g}"),
            "share": round(float(np.sqrt(counts[column, row] / counts.max())), 3),
        }
        for column, row in zip(*np.nonzero(counts), strict=True)
    ]
    bias = [
        {"true": (row.low + row.high) / 2, "error": float(f"{row.bias:.4g}")}
        for row in by_value(model.labels, model.values)
    ]
    return cells, bias


def residual_figure(model: Regressor) -> Markup:
    """Returns the SVG of the errors by true value."""
    cells, bias = residual_rows(model)
    return charts.inline(charts.residuals(), cells, bias=bias)


def residual_description(model: Regressor) -> str:
    """Returns the alternative text of the errors by true value."""
    rows = by_value(model.labels, model.values)
    spans = ", ".join(f"{row.bias_text} at {row.name}" for row in (rows[0], rows[-1])) if len(rows) > 1 else ""
    root = number(model.test_metrics["root_mean_squared_error"])
    return f"Errors by true value of {model.name}: root mean squared error {root}, bias {spans or rows[0].bias_text}"
