"""The picture of a watched model in Vega-Lite: evidence over time, and each statistic beside its reference."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from stages.base.shown_text import one_line
from stages.watch.comparisons import CLASSES, UNSURE
from stages.watch.record import ComparisonRecord, Point, Record
from stages.watch.sentences import title

REFERENCE, SEEN, ALARM, QUIET = "#c3c8d0", "#2563eb", "#c2410c", "#64748b"
COLUMNS, WIDTH, HEIGHT, SPACING = 3, 210, 110, 66
LOWEST, ABOVE_LIMIT = -2.0, 3.0  # powers of ten that are drawn: from the first to so many above the limit
HEADING = {"anchor": "start", "fontSize": 12, "frame": "group", "offset": 10}
EXTENT = {"minExtent": 38, "maxExtent": 38}  # of an axis, so that charts in a row are aligned
AXIS = {"grid": False, "labelOverlap": "greedy", "labelColor": "#475569", "titleColor": "#475569"}

Curve = Sequence[tuple[int, float]]  # numbers of images, and the evidence as a power of ten


def picture(record: Record) -> dict[str, Any]:
    """Returns the specification for one model."""
    curves = _curves(record)
    numbers = _numbers(record, curves)
    charts = [_beside_reference(item, numbers.get(item.name)) for item in record.comparisons]
    rows = [
        {"hconcat": charts[start : start + COLUMNS], "spacing": SPACING, "bounds": "flush"}
        for start in range(0, len(charts), COLUMNS)
    ]
    name = one_line(f"{record.model} {record.version}".strip())
    state = f"{len(record.alarms)} alarm{'s' * (len(record.alarms) != 1)}" if record.alarms else "no alarm"
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "padding": 16,
        "title": {
            "text": f"{name}: {state}",
            "subtitle": f"{record.images:,} images until {record.last[:16].replace('T', ' ')}; blue is what was seen "
            "lately, orange where an alarm stands, grey the validation images",
            "anchor": "start",
            "fontSize": 16,
            "subtitleColor": "#475569",
            "offset": 14,
        },
        "config": {"view": {"stroke": None}, "font": "sans-serif"},
        "vconcat": [_evidence(record, curves, numbers), *rows],
        "spacing": 26,
    }


def _limit(record: Record) -> float:
    """Returns the evidence at which an alarm is raised, as a power of ten."""
    return max((item.limit for item in record.comparisons), default=3.0)


def _curves(record: Record) -> Mapping[str, Curve]:
    """Returns the evidence of each statistic as pairs of the number of images and the power of ten, as it is drawn."""
    names, top = {item.name for item in record.comparisons}, _limit(record) + ABOVE_LIMIT
    start = Point(until=record.first, images=0, evidence=dict.fromkeys(names, 0.0))
    curves: dict[str, list[tuple[int, float]]] = {item.name: [] for item in record.comparisons}
    for point in [start, *record.history]:
        for name in names & point.evidence.keys():
            curves[name].append((point.images, min(max(point.evidence[name], LOWEST), top)))
    return curves


def _numbers(record: Record, curves: Mapping[str, Curve]) -> dict[str, int]:
    """Returns the numbers of the alarms, from 1, in the order in which their curves reach the limit."""
    limit = _limit(record)
    names = {alarm.statistic for alarm in record.alarms} & curves.keys()
    return {name: number for number, name in enumerate(sorted(names, key=lambda name: _at(curves[name], limit)), 1)}


def _at(curve: Curve, height: float) -> tuple[float, float]:
    """Returns the first point of `curve` at `height`; if it is never so high, its highest point."""
    for (before, low), (images, high) in pairwise(curve):
        if low < height <= high:
            return before + (images - before) * (height - low) / (high - low), height
    return max(curve, key=lambda point: point[1])


def _evidence(record: Record, curves: Mapping[str, Curve], numbers: Mapping[str, int]) -> dict[str, Any]:
    """Returns the chart of the evidence by the number of images, with the limit and the numbers of the alarms."""
    limit = _limit(record)
    colour = {"domain": ["alarm", "quiet"], "range": [ALARM, QUIET]}
    axis = AXIS | {"format": ",d", "labelFlush": False, "labelSeparation": 12}
    x = {"field": "images", "type": "quantitative", "title": None, "scale": {"nice": False}, "axis": axis}
    scale = {"domain": [LOWEST, limit + ABOVE_LIMIT]}
    y = {"field": "evidence", "type": "quantitative", "scale": scale, "title": "power of ten"}
    lines = {
        "data": {"values": _points(curves, numbers)},
        "mark": {"type": "line", "strokeWidth": 1.5, "point": {"size": 10}},
        "encoding": {
            "x": x,
            "y": y | {"axis": AXIS | {"tickCount": 5} | EXTENT},
            "detail": {"field": "statistic"},
            "color": {"field": "state", "type": "nominal", "scale": colour, "legend": None},
        },
    }
    text = {"type": "text", "align": "left", "dy": -6, "x": 4, "color": "#0f172a"}
    rule = {
        "data": {"values": [{"limit": limit, "text": "limit"}]},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#0f172a"}},
            {"mark": text, "encoding": {"text": {"field": "text"}}},
        ],
        "encoding": {"y": {"field": "limit", "type": "quantitative", "scale": scale}},
    }
    names = ", ".join(f"{number} {title(name)}" for name, number in numbers.items())
    key = [f"Alarms: {names}", f"Curves end {ABOVE_LIMIT:.0f} powers of ten above the limit"] if numbers else []
    heading = {"text": "Evidence of a change, by the number of images", "subtitle": key, "subtitleColor": "#475569"}
    return {
        "width": COLUMNS * WIDTH + (COLUMNS - 1) * SPACING,
        "height": 220,
        "title": HEADING | heading,
        "layer": [lines, rule, _marks(curves, numbers, limit, {"x": x, "y": y})],
    }


def _marks(
    curves: Mapping[str, Curve], numbers: Mapping[str, int], limit: float, place: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the numbers of the alarms as a layer: each on its curve, at a height of its own above the limit."""
    step = (ABOVE_LIMIT - 1) / max(len(numbers) - 1, 1)
    rows = []
    for name, number in numbers.items():
        images, evidence = _at(curves[name], limit + ABOVE_LIMIT - 0.5 - step * (number - 1))
        rows.append({"images": images, "evidence": evidence, "number": number})
    disc = {"type": "point", "filled": True, "size": 160, "color": ALARM, "opacity": 1, "stroke": "white"}
    digit = {"type": "text", "color": "white", "fontSize": 10, "fontWeight": "bold", "baseline": "middle"}
    return {
        "data": {"values": rows},
        "layer": [{"mark": disc}, {"mark": digit, "encoding": {"text": {"field": "number"}}}],
        "encoding": dict(place),
    }


def _points(curves: Mapping[str, Curve], numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """Returns a row for each point of each curve."""
    return [
        {
            "images": images,
            "evidence": evidence,
            "statistic": title(name),
            "state": "alarm" if name in numbers else "quiet",
        }
        for name, curve in curves.items()
        for images, evidence in curve
    ]


def _beside_reference(item: ComparisonRecord, alarm: int | None) -> dict[str, Any]:
    """Returns the chart of one statistic, with the number of its `alarm`: the share of images in each bin.

    The shares are those of the reference and those seen lately.
    """
    names = [one_line(name) for name in item.bins] or ["lower", *(f"{edge:.4g}" for edge in item.edges)]
    total, lately = sum(item.reference), sum(item.recent) or 1
    rows = [
        {"bin": number, "name": name, "reference": known / total, "seen": seen / lately}
        for number, (name, known, seen) in enumerate(zip(names, item.reference, item.recent, strict=True))
    ]
    heading = f"{alarm} {title(item.name)}" if alarm else title(item.name)
    colour = ALARM if alarm else SEEN
    angle = 0 if item.name in (CLASSES, UNSURE) and max(len(name) for name in names) < 8 else -40
    axis = AXIS | {"labelExpr": f"{json.dumps(names)}[datum.value]", "labelAngle": angle, "ticks": False}
    x = {"field": "bin", "type": "ordinal", "title": None, "axis": axis | EXTENT}
    y = {"type": "quantitative", "title": None, "axis": AXIS | {"format": ".0%", "tickCount": 3} | EXTENT}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "title": HEADING | {"text": heading, "color": ALARM if alarm else "#0f172a"},
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "bar", "color": REFERENCE}, "encoding": {"x": x, "y": y | {"field": "reference"}}},
            {"mark": {"type": "bar", "color": colour, "width": {"band": 0.4}},
             "encoding": {"x": x, "y": y | {"field": "seen"}}},
        ],
    }  # fmt: skip
