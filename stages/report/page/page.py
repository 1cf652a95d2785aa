"""The page reports/index.html: one file that needs no other and no network."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from stages.model.config import Model
from stages.report import formats, model_comparison, provenance, sentences
from stages.report.facts import Facts, Group
from stages.report.gates import Judgement
from stages.report.model_facts import ModelFacts, Trained
from stages.report.page import example_images, plots
from stages.report.page.png import album, heat_uri, is_ink, png_uri
from stages.report.statistics.intervals import frequent_confusions, smoothed_from
from stages.report.statistics.paired_tests import Pair

TEMPLATES = Path(__file__).parent / "templates"
MATRIX_CLASSES = 30  # with more the confusion matrix is a picture, and its largest cells a table
OPEN_MODELS = 6  # of more models, the details of the others wait behind their names
COMPARED = 10  # comparisons that stand open; the others wait behind a line
SHOWN_PAIRS = 4  # comparisons with the best whose images are shown
FEW = 8  # images in a gallery of a comparison


def render_page(
    facts: Facts,
    judgement: Judgement | None = None,
    title: str = "report",
    verdict: model_comparison.Verdict | None = None,
    changes: Sequence[Pair] = (),
) -> str:
    """The report as HTML: everything escaped, the same bytes for the same facts.

    A comparison of two runs brings a verdict of its own, and the pairs of versions.
    """
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            facts=facts,
            title=title,
            data=facts.data,
            about=facts.data.description,
            style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
            script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
            verdict=verdict or model_comparison.verdict(facts),
            changes=changes,
            stand_in=sentences.stand_in(facts),
            judgement=judgement,
            sentences=sentences,
            model_comparison=model_comparison,
            example_images=example_images,
            programs=provenance.versions(),
            scale=_scale,
            smoothed_from=smoothed_from(facts.settings.smoothing),
            longest=max(len(model.history) for model in facts.models),
            curves=lambda model: _curves(model, facts.settings.smoothing),
            reliability=_reliability,
            scatter=lambda model: Markup(plots.values_diagram(model.labels, model.values, f"{model.name}-values")),
            shown=lambda group: [example_images.disagreement(group, pair, FEW) for pair in _shown(group)],
            heat=_heat,
            heat_picture=lambda model: heat_uri(_strength(model)),
            confused=_confused,
            lookup=_lookup(facts),
            settings_of=_settings_of,
            MATRIX_CLASSES=MATRIX_CLASSES,
            OPEN_MODELS=OPEN_MODELS,
            COMPARED=COMPARED,
        )
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
    environment.filters.update(
        percent=formats.percent,
        count=formats.count,
        points=formats.points,
        listed=formats.listed,
        number=formats.number,
        bytes=formats.megabytes,
        chance=formats.chance,
        plural=formats.plural,
        span=formats.span,
        png=png_uri,
        ink=is_ink,
        breakable=_breakable,
        json=_embedded_json,
    )
    return environment


def _scale(models: Sequence[Any]) -> Any:
    """Where a score lies, in percent of the width that holds every model's interval."""
    low = min(model.interval.low for model in models)
    width = max(model.interval.high for model in models) - low
    return lambda score: round(4 + 92 * (score - low) / (width or 1.0), 2)


def _curves(model: Trained, smoothing: float) -> Iterator[tuple[str, Markup]]:
    """Alternative text and SVG of each learning curve."""
    bold = smoothing if len(model.history) >= smoothed_from(smoothing) else None
    measured = [name for name in model.history if name != "epoch" and f"val_{name}" in model.history]
    for quantity in map(str, measured):
        best = sentences.best_epoch(model)
        heading = sentences.heading(model, quantity)
        svg = plots.learning_curve(model.history, quantity, heading, bold, f"{model.name}-{quantity}", best)
        # Markup: Matplotlib's own output, drawn from numbers and fixed words alone.
        yield sentences.curve(model, quantity), Markup(svg)


def _reliability(model: ModelFacts) -> Markup:
    return Markup(plots.reliability_diagram(model.scores.reliability, f"{model.name}-reliability"))


def _shown(group: Group) -> list[Any]:
    return list(group.against_best.values())[:SHOWN_PAIRS]


def _strength(model: ModelFacts) -> np.ndarray:
    errors = np.where(np.eye(model.classes, dtype=bool), 0, model.confusion)
    return np.asarray(np.sqrt(errors / max(1, errors.max())))


def _heat(model: ModelFacts) -> list[list[str]]:
    """How strongly to colour each cell of the confusion matrix: errors only, by square root."""
    return [[f"{cell:.2f}" for cell in row] for row in _strength(model)]


def _confused(model: ModelFacts, limit: int) -> list[Any]:
    return frequent_confusions(model.confusion, limit)


def _lookup(facts: Facts) -> dict[str, Any]:
    """What the page's script needs to show the images behind a cell: each image once, and the answers to it."""
    images = album(facts.data.test_images, example_images.by_need(facts.classifiers))
    models: dict[str, Any] = {}
    for model in facts.classifiers:
        behind = {
            cell: [index for index in indexes if str(index) in images]
            for cell, indexes in example_images.cells(model).items()
        }
        shown = [index for indexes in behind.values() for index in indexes]
        models[model.name] = {
            "cells": behind,
            "sure": example_images.shares(model, shown),
            "names": list(model.class_names),
        }
    return {"ink": is_ink(facts.data.arrays.x_test[0]), "images": images, "models": models}


def _embedded_json(content: Any) -> Markup:
    """`content` as JSON inside a script element, which no text in it can end."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _breakable(name: str) -> Markup:
    """`name`, escaped, with leave to break the line after each underscore and before an @."""
    return escape(name).replace("_", Markup("_<wbr>")).replace("@", Markup("<wbr>@"))


def _settings_of(model: Model) -> dict[str, str]:
    """The parameters of a model as params.yaml has them, defaults included, one value a key."""
    settings: dict[str, str] = {}
    waiting = list(model.model_dump(exclude_none=True).items())
    while waiting:
        key, value = waiting.pop(0)
        if isinstance(value, dict):
            waiting = [(f"{key}.{inner}", item) for inner, item in value.items()] + waiting
        else:
            settings[key] = _plain(value)
    return settings


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
