"""Renders the page reports/index.html: one file that needs no other file and no network."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from stages.report import formats, model_comparison, provenance, sentences
from stages.report.facts import Facts, ModelGroup
from stages.report.gates import GateResults
from stages.report.models import recipes
from stages.report.models.classifier import RISE, Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.pairs import Pair
from stages.report.page import example_images, plots
from stages.report.page.png import encode_image, encode_images, heatmap, is_grey
from stages.report.statistics.scores import frequent_confusions
from stages.report.statistics.smoothing import min_smoothed_epochs

TEMPLATES = Path(__file__).parent / "templates"
DISAGREEMENTS = 4  # comparisons with the best model whose images are shown
DISAGREEMENT_IMAGES = 8  # in each gallery of a comparison


def render_page(
    facts: Facts,
    results: GateResults | None = None,
    title: str = "report",
    verdict: model_comparison.Verdict | None = None,
    changes: Sequence[Pair] = (),
) -> str:
    """Returns the report as HTML: all texts escaped, the same bytes for the same facts.

    Args:
        facts: the facts to show.
        results: results of the quality gates, where the gates were checked.
        title: name of the page.
        verdict: verdict to show instead of that on the leading models, in a comparison of versions.
        changes: new versions of models against their old ones, in a comparison of versions.
    """
    template = _environment().get_template("page.html.j2")
    return template.render(
        facts=facts,
        results=results,
        title=title,
        verdict=verdict or model_comparison.verdict(facts.lead),
        changes=changes,
        data=facts.data,
        about=facts.data.description,
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        sentences=sentences,
        model_comparison=model_comparison,
        recipes=recipes,
        four_decimals=formats.four_decimals,
        versions=provenance.library_versions(),
        smoothed_epochs=min_smoothed_epochs(facts.params.smoothing),
        longest_history=max(len(model.history) for model in facts.models),
        curves=lambda model: _curves(model, facts.params.smoothing),
        plots=plots,
        example_images=example_images,
        frequent_confusions=frequent_confusions,
        scale=_scale,
        disagreements=_disagreements,
        strength=_strength,
        heatmap=heatmap,
        lookup=_lookup(facts),
        params_of=lambda model: _flatten(model.params.model_dump(exclude_none=True)),
        rise_percent=round(100 * (RISE - 1)),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    texts = (formats.percent, formats.count, formats.enumerate_words, formats.number, formats.file_size)
    filters = (*texts, formats.p_value, formats.plural, encode_image, is_grey, breakable, embedded_json)
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def _scale(models: Sequence[ModelFacts]) -> Callable[[float], float]:
    """Returns the position of a score, in percent of the width that holds the intervals of all models."""
    low = min(model.interval.low for model in models)
    width = max(model.interval.high for model in models) - low
    return lambda score: round(4 + 92 * (score - low) / (width or 1.0), 2)


def _curves(model: ModelFacts, smoothing: float) -> Iterator[tuple[str, Markup]]:
    """Yields alternative text and SVG of each learning curve."""
    factor = smoothing if len(model.history) >= min_smoothed_epochs(smoothing) else None
    for quantity in map(str, model.history):
        if quantity != "epoch" and f"val_{quantity}" in model.history:
            best, title = sentences.best_epoch(model), sentences.curve_title(model, quantity)
            svg = plots.learning_curve(model.history, quantity, title, factor, f"{model.name}-{quantity}", best)
            yield sentences.curve_description(model, quantity), svg


def _disagreements(group: ModelGroup) -> list[example_images.Disagreement]:
    """Returns the images behind comparisons of classifiers with the best one."""
    pairs = [pair for pair in group.against_best if pair.test.agreement]
    return [example_images.disagreement(pair, DISAGREEMENT_IMAGES) for pair in pairs[:DISAGREEMENTS]]


def _strength(model: Classifier) -> np.ndarray:
    """Returns the colour strength of each cell of the confusion matrix in [0, 1], by the square root of its errors."""
    errors = np.where(np.eye(model.classes, dtype=bool), 0, model.confusion)
    return np.asarray(np.sqrt(errors / max(1, errors.max())))


def _lookup(facts: Facts) -> dict[str, Any]:
    """Returns the images of all cells of the confusion matrices, each once, and their predictions, for the script."""
    if facts.data.description.kind != "image":
        return {"grey": True, "images": {}, "models": {}}
    images = encode_images(facts.data.test_images, example_images.images_of_cells(facts.classifiers))
    models: dict[str, Any] = {}
    for model in facts.classifiers:
        cells = {
            cell: [index for index in indexes if str(index) in images]
            for cell, indexes in example_images.images_by_cell(model).items()
        }
        models[model.name] = {
            "cells": cells,
            "probabilities": {
                str(index): round(float(model.confidence[index]), 4) for indexes in cells.values() for index in indexes
            },
            "names": list(model.class_names),
        }
    return {"grey": is_grey(facts.data.arrays.x_test[0]), "images": images, "models": models}


def embedded_json(content: Any) -> Markup:
    """Returns `content` as JSON for a script element, which no text in it can close."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def breakable(name: str) -> Markup:
    """Returns `name` escaped, with possible line breaks after each underscore and before an @."""
    return escape(name).replace("_", Markup("_<wbr>")).replace("@", Markup("<wbr>@"))


def _flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns parameters as text, nested keys joined by dots."""
    texts: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            texts |= _flatten(value, f"{prefix}{key}.")
        else:
            texts[prefix + key] = _param_text(value)
    return texts


def _param_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_param_text, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
