"""The data of the page's script: images of confusion matrix cells, curves, parameters, and specifications of charts."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.report import model_comparison
from stages.report.facts import Facts, ModelGroup
from stages.report.formats import p_value
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.regressor import Regressor
from stages.report.page import chart_rows, charts, example_images
from stages.report.page.png import encode_images, is_grey
from stages.report.statistics.thresholds import thresholds


def lookup(facts: Facts) -> dict[str, Any]:
    """Returns the content of the page's element `lookup`."""
    images = _images(facts)
    shown = [int(index) for index in images]
    models = {
        model.name: _model(model, number, shown, facts)
        for number, group in enumerate(facts.groups)
        for model in group.models
    }
    return {
        "grey": not images or is_grey(facts.data.arrays.x_test[0]),
        "noun": facts.data.description.noun,
        "samples": len(facts.data.arrays.y_test),
        "images": images,
        "models": models,
        "groups": [_group(group) for group in facts.groups],
        "specs": {"curve": charts.curve(""), "compared": charts.curve("", models=("first", "second"))},
    }


def _images(facts: Facts) -> dict[str, str]:
    """Returns the images of all cells and of the worst errors of values, each once."""
    if facts.data.description.kind != "image":
        return {}
    indexes = dict.fromkeys(example_images.images_of_cells(facts.classifiers))
    for model in facts.models:
        if not isinstance(model, Classifier):
            indexes |= dict.fromkeys(answer.index for answer in model.worst_errors(example_images.VALUE_ERRORS))
    return encode_images(facts.data.test_images, indexes)


def _group(group: ModelGroup) -> dict[str, Any]:
    pairs = [
        [pair.first.name, pair.second.name, model_comparison.pair_verdict(pair),
         f"{pair.difference_text}, interval {pair.interval_text}, {p_value(pair.corrected_p)}"]
        for pair in group.pairs
    ]  # fmt: skip
    return {"costs": chart_rows.cost_rows(group), "cost": chart_rows.cost_spec(group), "pairs": pairs,
            "score": group.best.score_name}  # fmt: skip


def _model(model: ModelFacts, group: int, shown: list[int], facts: Facts) -> dict[str, Any]:
    curves = {
        curve.quantity: {
            "title": curve.title, "shares": curve.shares, "log": curve.logarithmic, "best": curve.best,
            "parts": curve.parts, "smooth": curve.smooth,
        }
        for curve in chart_rows.learning_curves(model, facts.params.smoothing)
    }  # fmt: skip
    common = {
        "group": group,
        "kind": model.kind,
        "curves": curves,
        "params": flatten(model.params.model_dump(exclude_none=True)),
        "figures": {cell.heading: cell.text for cell in model.cells},
        "right": base64.b64encode(np.packbits(model.correct).tobytes()).decode("ascii"),
    }
    if isinstance(model, Classifier):
        return common | _classes(model, shown)
    answers = {str(index): model.answer(index) for index in shown}
    texts = {index: [answer.label, answer.predicted] for index, answer in answers.items()}
    if isinstance(model, Regressor):
        cells, bias = chart_rows.residual_rows(model)
        common["residuals"] = {"spec": charts.residuals(), "rows": cells, "bias": bias}
    return common | {"answers": texts}


def _classes(model: Classifier, shown: list[int]) -> dict[str, Any]:
    known = set(shown)
    cells = {
        cell: [index for index in indexes if index in known]
        for cell, indexes in example_images.images_by_cell(model).items()
    }
    counts = {f"{a}-{p}": int(model.confusion[a, p]) for a, p in np.argwhere(model.confusion)}
    content: dict[str, Any] = {
        "cells": cells,
        "counts": counts,
        "probabilities": {str(index): round(float(model.confidence[index]), 4) for index in shown},
        "answers": {str(index): [int(model.labels[index]), int(model.predicted[index])] for index in shown},
        "names": list(model.class_names),
        "reliability": {"spec": charts.reliability(model.noun), "rows": chart_rows.reliability_rows(model)},
    }
    if model.classes == 2:
        table = thresholds(model.labels, model.probabilities[:, 1])
        content["thresholds"] = {
            "positives": table.positives, "negatives": table.negatives,
            "true": table.true_positives, "false": table.false_positives,
            "specs": chart_rows.rate_specs(model, table), "rows": chart_rows.rate_rows(table),
        }  # fmt: skip
    return content


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns parameters as text, nested keys joined by dots."""
    texts: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            texts |= flatten(value, f"{prefix}{key}.")
        else:
            texts[f"{prefix}{key}"] = _param_text(value)
    return texts


def _param_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_param_text, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
