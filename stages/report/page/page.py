"""Renders the page reports/index.html: one file that needs no other file and no network."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup, escape

from stages.charts import vega
from stages.charts.pages import embedded_json, page_environment
from stages.report import formats, model_comparison, provenance, sentences
from stages.report.config import Gates
from stages.report.facts import Facts, ModelGroup
from stages.report.gates import GateResults
from stages.report.models import recipes
from stages.report.models.classifier import RISE, Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.models.pairs import Pair
from stages.report.page import chart_rows, example_images, screen
from stages.report.page.lookup import flatten, lookup
from stages.report.page.png import encode_image, heatmap, is_grey
from stages.report.page.version_params import ChangedParams
from stages.report.statistics import many_classes, residuals
from stages.report.statistics.scores import frequent_confusions
from stages.report.statistics.smoothing import min_smoothed_epochs
from stages.report.statistics.thresholds import thresholds

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("page.css", "screen.css", "print.css")
SCRIPTS = ("page.js", "matrix.js", "charts.js", "compared.js", "select.js")
SHORT_NAME = 3  # letters of a class that fit above a column of a matrix
DISAGREEMENTS = 4  # comparisons with the best model whose images are shown
DISAGREEMENT_IMAGES = 8  # in each gallery of a comparison


def render_page(
    facts: Facts,
    results: GateResults | None = None,
    title: str = "report",
    verdict: model_comparison.Verdict | None = None,
    changes: Sequence[Pair] = (),
    gates: Gates | None = None,
    params: ChangedParams | None = None,
) -> str:
    """Returns the report as HTML: all texts escaped, the same bytes for the same facts.

    Args:
        facts: the facts to show.
        results: results of the quality gates, where the gates were checked.
        title: name of the page.
        verdict: verdict to show instead of that on the leading models, in a comparison of versions.
        changes: new versions of models against their old ones, in a comparison of versions.
        gates: the gates whose limits the ranking shows.
        params: parameters that differ, in a comparison of versions.
    """
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            facts=facts,
            results=results,
            title=title,
            verdict=verdict or model_comparison.verdict(facts.lead),
            changes=changes,
            changed_params=params,
            data=facts.data,
            about=facts.data.description,
            screens=[screen.screen(group, facts.data, results, gates) for group in facts.groups],
            lookup=lookup(facts),
            curves=lambda model: chart_rows.curve_figures(model, facts.params.smoothing),
            smoothed_epochs=min_smoothed_epochs(facts.params.smoothing),
            longest_history=max(len(model.history) for model in facts.models),
            **_helpers(),
        )
    )


def _helpers() -> dict[str, Any]:
    """Returns what the templates need of any report: modules, functions, style and scripts."""
    return {
        "style": Markup("".join(_read(name) for name in STYLES)),
        "library": Markup(vega.javascript()),
        "script": Markup("".join(_read(name) for name in SCRIPTS)),
        "sentences": sentences,
        "model_comparison": model_comparison,
        "recipes": recipes,
        "four_decimals": formats.four_decimals,
        "versions": provenance.library_versions(),
        "screen": screen,
        "chart_rows": chart_rows,
        "example_images": example_images,
        "frequent_confusions": frequent_confusions,
        "many_classes": many_classes,
        "thresholds": lambda model: thresholds(model.labels, model.probabilities[:, 1]),
        "residuals": residuals,
        "class_codes": class_codes,
        "tabs_of": tabs_of,
        "scale": _scale,
        "disagreements": _disagreements,
        "strength": _strength,
        "heatmap": heatmap,
        "params_of": lambda model: flatten(model.params.model_dump(exclude_none=True)),
        "rise_percent": round(100 * RISE),
    }


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = page_environment(TEMPLATES)
    numbers = (formats.percent, formats.count, formats.number, formats.known_number, formats.file_size, formats.p_value)
    texts = (formats.enumerate_words, formats.plural, breakable, embedded_json)
    filters = (*numbers, *texts, encode_image, is_grey)
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def _scale(models: Sequence[ModelFacts]) -> Callable[[float], float]:
    """Returns the position of a score, in percent of the width that holds the intervals of all models."""
    ends = [end for model in models for end in (model.score, *model.interval) if not math.isnan(end)]
    low = min(ends)
    width = max(ends) - low
    return lambda score: round(4 + 92 * (score - low) / (width or 1.0), 2)


def _disagreements(group: ModelGroup) -> list[example_images.Disagreement]:
    """Returns the images behind comparisons of classifiers with the best one."""
    pairs = [pair for pair in group.against_best if pair.test.agreement]
    return [example_images.disagreement(pair, DISAGREEMENT_IMAGES) for pair in pairs[:DISAGREEMENTS]]


def _strength(model: Classifier) -> np.ndarray:
    """Returns the colour strength of each cell of the confusion matrix in [0, 1], by the square root of its errors."""
    errors = np.where(np.eye(model.classes, dtype=bool), 0, model.confusion)
    return np.asarray(np.sqrt(errors / max(1, errors.max())))


def breakable(name: str) -> Markup:
    """Returns `name` escaped, with possible line breaks after each underscore and before an @."""
    return escape(name).replace("_", Markup("_<wbr>")).replace("@", Markup("<wbr>@"))


def class_codes(names: Sequence[str]) -> list[str]:
    """Returns short names of classes for a matrix: the names where they are short, else letters or numbers."""
    if max(map(len, names)) <= SHORT_NAME:
        return list(names)
    letters = list(ascii_uppercase[: len(names)])
    return letters if len(letters) == len(names) else [str(number) for number in range(len(names))]


def tabs_of(model: ModelFacts) -> list[tuple[str, str]]:
    """Returns names and titles of the tabs of `model` that not every kind of model has."""
    if not isinstance(model, Classifier):
        return [("residuals", "Residuals")]
    calibration = [("calibration", "Calibration")]
    return [("threshold", "Threshold"), *calibration] if model.classes == 2 else calibration
