"""Vega-Lite specifications of the page's charts: drawn as SVG here, and with tooltips by the page's script.

Colours are variables of the page, so that a chart follows its light or dark mode.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stages.charts import vega

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

FIRST, SECOND, INK, FAINT, BAR = (f"var(--{name})" for name in ("training", "validation", "muted", "rule", "bar"))
WIDTH = 400
CONFIG: Spec = {
    "background": None,
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "gridColor": FAINT, "domainColor": FAINT, "tickColor": FAINT,
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "tickCount": 5,
    },
    "axisY": {
        "domain": False, "ticks": False, "titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleY": -8,
    },
    "axisX": {"grid": False},
    "text": {"color": INK, "fontSize": 11},
    "title": {"color": INK, "fontSize": 12, "anchor": "start", "offset": 14},
}  # fmt: skip
TAGS = re.compile(r' (?:xmlns(?::xlink)?|version|class|font-family|pointer-events|role|aria-\w+)="[^"]*"')
WHOLE_STEPS = {"expr": "clamp(span(domain('x')), 1, 5)"}  # ticks of an axis x of whole numbers: no step is below 1
LARGE_RANGE = 1000  # factor of a loss's values from which their scale is logarithmic


def inline(spec: Spec, rows: Rows, **more: Rows) -> Markup:
    """Returns the chart of `rows` (and of `more` named data) as an SVG element with the colours of the page."""
    filled = spec | {"width": spec.get("width", WIDTH)}
    named = {"rows": list(rows)} | {name: list(values) for name, values in more.items()}
    svg = vega.svg(filled | {"datasets": named} if named else filled)
    view = re.search(r'viewBox="[^"]+"', svg)
    content = TAGS.sub("", svg[svg.index(">") + 1 : svg.rindex("</svg>")])
    # Markup: Vega's own output, which escapes the texts of the specification.
    return Markup(f'<svg class="chart" {view.group() if view else ""} aria-hidden="true">{content}</svg>')


def _spec(**content: Any) -> Spec:
    return {"data": {"name": "rows"}, "config": CONFIG, **content}


def _axis(field: str, title: str, *, scale: Spec | None = None, **axis: Any) -> Spec:
    encoding: Spec = {"field": field, "type": "quantitative", "title": title, "axis": axis}
    return encoding | ({"scale": scale} if scale else {})


def curve(title: str, *, shares: bool = False, logarithmic: bool = False, models: Sequence[str] = ()) -> Spec:
    """Returns learning curves of rows with `epoch`, `part`, `value`, `smooth` (or null), `best` (or null) and `model`.

    Colours are the parts of the data, or the models where two `models` are compared, with training dashed.
    """
    names = list(models) or ["validation", "training"]
    colours = {"domain": names, "range": [FIRST, SECOND] if models else [SECOND, FIRST]}
    colour = {"field": "model" if models else "part", "type": "nominal", "scale": colours, "legend": None}
    dash: Spec = {"field": "part", "type": "nominal", "legend": None}
    dash["scale"] = {"domain": ["validation", "training"], "range": [[1, 0], [4, 3]]}
    kind = _kind(logarithmic)
    y = {"scale": kind, "format": ".1%"} if shares else {"scale": kind}
    x = _axis("epoch", "epoch", scale={"nice": False, "zero": False}, format="d", tickCount=WHOLE_STEPS)
    best = x | {"field": "best"}
    lines: Spec = {"x": x, "color": colour, **({"strokeDash": dash} if models else {"detail": {"field": "part"}})}
    tooltip = [{"field": field, "type": "nominal", "title": field} for field in ("model", "part", "epoch", "value")]
    smoothed = "isValid(datum.smooth)"
    faint = {"condition": {"test": smoothed, "value": 0.5}, "value": 1}
    layers: list[Spec] = [
        {
            "transform": [{"filter": "isValid(datum.value)"}],
            "mark": {"type": "line", "strokeWidth": 1.6},
            "encoding": {**lines, "y": _axis("value", "", **y), "opacity": faint},
        },
        {"transform": [{"filter": smoothed}], "mark": {"type": "line", "strokeWidth": 2.2},
         "encoding": {**lines, "y": _axis("smooth", "", **y)}},
        {"transform": [{"filter": "isValid(datum.value)"}],
         "mark": {"type": "point", "filled": True, "size": 26, "opacity": 1},
         "encoding": {"x": x, "color": colour, "y": _axis("value", "", **y), "tooltip": tooltip}},
        {"transform": [{"filter": "isValid(datum.best)"}], "mark": {"type": "rule", "strokeDash": [2, 2], "color": INK},
         "encoding": {"x": best}},
        {"transform": [{"filter": "isValid(datum.best)"}],
         "mark": {"type": "text", "dy": -7, "baseline": "bottom", "align": "center"},
         "encoding": {"x": best, "y": {"value": 0}, "text": {"field": "mark"}}},
    ]  # fmt: skip
    return _spec(title={"text": title}, height=130, layer=layers, width=WIDTH)


def cost(
    score: str,
    ticks: Sequence[float],
    cost_title: str,
    *,
    shares: bool,
    ends: tuple[float, float] | None,
    log_score: bool,
    log_cost: bool,
) -> Spec:
    """Returns the score by the cost of rows with `model`, `error`, `cost`, `pareto` and texts, with numbers at `ticks`.

    The scale of the errors has these `ends`, or those of the rows.

    The line and the names are those of the Pareto front: no other model has fewer errors at a lower cost.
    The best are at the top: the scale is that of the errors, reversed.
    """
    scale: Spec = {"reverse": True, **_kind(log_score), **({"domain": list(ends)} if ends else {})}
    labels = {"labelExpr": "format(100 * (1 - datum.value), '.4~r') + '%'"} if shares else {}
    y = _axis("error", score, scale=scale | {"padding": 12, "nice": False}, values=list(ticks), **labels)
    x_scale = {**_kind(log_cost), "padding": 26, "nice": False}
    x = _axis("cost", cost_title, scale=x_scale, format="~g", tickCount=5)
    pareto = [{"filter": "datum.pareto"}]
    tooltip = [{"field": field, "title": field} for field in ("model", "score", "cost text")]
    colour = {"condition": {"test": "datum.leads", "value": FIRST}, "value": INK}
    layers: list[Spec] = [
        {"transform": pareto, "mark": {"type": "line", "interpolate": "step-after", "color": FIRST, "opacity": 0.5},
         "encoding": {"order": {"field": "cost"}}},
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "cursor": "pointer"},
         "encoding": {"color": colour, "tooltip": tooltip}},
        {"transform": pareto, "mark": {"type": "text", "dy": -9, "baseline": "bottom"},
         "encoding": {"text": {"field": "model"}}},
    ]  # fmt: skip
    return _spec(height=120, layer=layers, encoding={"x": x, "y": y}, width=WIDTH)


def _kind(logarithmic: bool) -> Spec:
    return {"type": "log"} if logarithmic else {"type": "linear", "zero": False}


def reliability(noun: str) -> Spec:
    """Returns accuracy by probability of rows with `confidence`, `accuracy`, `low95`, `high95`, `low`, `high`, `count`.

    Below it is the number of samples of each bin, from 0.
    """
    percents: Spec = {"format": ".0%"}
    x = _axis("confidence", "", scale={"domain": [0, 1]}, labels=False, ticks=False)
    y = _axis("accuracy", "", scale={"domain": [0, 1]}, **percents)
    tooltip = [{"field": field, "title": field} for field in ("probability", "right", "count")]
    upper: Spec = {
        "title": {"text": "Accuracy by predicted probability"},
        "height": 150, "width": WIDTH,
        "layer": [
            {"data": {"values": [{"x": 0}, {"x": 1}]}, "mark": {"type": "line", "strokeDash": [4, 3], "color": INK},
             "encoding": {"x": _axis("x", ""), "y": _axis("x", "")}},
            {"mark": {"type": "rule", "strokeWidth": 2, "color": FIRST, "opacity": 0.5},
             "encoding": {"x": x, "y": _axis("low95", "", **percents), "y2": {"field": "high95"}}},
            {"mark": {"type": "point", "filled": True, "size": 40, "opacity": 1, "color": FIRST},
             "encoding": {"x": x, "y": y, "tooltip": tooltip}},
        ],
    }  # fmt: skip
    below: Spec = {"scale": {"domain": [0, 1]}, "format": ".0%"}
    lower: Spec = {
        "height": 44, "width": WIDTH,
        "mark": {"type": "bar", "color": BAR, "binSpacing": 1},
        "encoding": {
            "x": _axis("low", "probability of the predicted class", **below) | {"bin": {"binned": True}},
            "x2": {"field": "high"},
            "y": _axis("count", f"{noun}s", scale={"zero": True}, tickCount=2, format="~s"),
            "tooltip": tooltip,
        },
    }  # fmt: skip
    return _spec(vconcat=[upper, lower], spacing=14, width=WIDTH)


def rates(title: str, x: str, y: str, reference: Sequence[tuple[float, float]]) -> Spec:
    """Returns a curve of rows with `x` and `y` in [0, 1], the trivial answer as `reference`, and the rows `now`."""
    ends = {"domain": [0, 1]}
    encoding = {"x": _axis("x", x, scale=ends, format=".0%"), "y": _axis("y", y, scale=ends, format=".0%")}
    base = {"data": {"values": [{"x": left, "y": right} for left, right in reference]}}
    layers: list[Spec] = [
        base | {"mark": {"type": "line", "strokeDash": [4, 3], "color": INK}},
        {"mark": {"type": "line", "color": FIRST, "strokeWidth": 2}, "encoding": {"order": {"field": "n"}}},
        {"data": {"name": "now"}, "mark": {"type": "point", "filled": True, "size": 80, "color": SECOND, "opacity": 1}},
    ]
    return _spec(title={"text": title}, height=170, layer=layers, encoding=encoding, width=WIDTH // 2 + 60)


def residuals() -> Spec:
    """Returns the errors by true value: rows with `true`, `error` and `share`, and the bias in the rows `bias`."""
    x, y = _axis("true", "true value", scale={"zero": False, "padding": 10}), _axis("error", "predicted less true")
    strength = {
        "field": "share",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": [0.12, 1]},
        "legend": None,
    }
    layers: list[Spec] = [
        {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule", "strokeDash": [4, 3], "color": INK},
         "encoding": {"y": _axis("zero", "predicted less true")}},
        {"mark": {"type": "square", "filled": True, "size": 34, "color": FIRST},
         "encoding": {"x": x, "y": y, "opacity": strength}},
        {"data": {"name": "bias"},
         "mark": {"type": "line", "color": SECOND, "strokeWidth": 2, "point": {"filled": True}},
         "encoding": {"x": x, "y": y}},
    ]  # fmt: skip
    return _spec(title={"text": "Error by true value; the line is the bias"}, height=200, layer=layers, width=WIDTH)
