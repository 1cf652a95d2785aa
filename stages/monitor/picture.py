"""The picture of a watched model in Vega-Lite: evidence over time, and each statistic beside its reference."""

import json
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


def picture(record: Record) -> dict[str, Any]:
    """Returns the specification for one model."""
    since = {alarm.statistic for alarm in record.alarms}
    charts = [_beside_reference(item, item.name in since) for item in record.comparisons]
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
        "vconcat": [_evidence(record, since), *rows],
        "spacing": 26,
    }


def _evidence(record: Record, alarmed: set[str]) -> dict[str, Any]:
    """Returns the chart of the evidence by the number of images, with the limit."""
    limit = max((item.limit for item in record.comparisons), default=3.0)
    scale = {"domain": [LOWEST, limit + ABOVE_LIMIT]}
    colour = {"domain": ["alarm", "quiet"], "range": [ALARM, QUIET]}
    x = {"field": "images", "type": "quantitative", "title": None, "scale": {"nice": False}}
    y = {"field": "evidence", "type": "quantitative", "scale": scale, "title": "power of ten"}
    lines = {
        "data": {"values": _points(record, alarmed, limit + ABOVE_LIMIT)},
        "mark": {"type": "line", "strokeWidth": 1.5, "point": {"size": 10}},
        "encoding": {
            "x": x | {"axis": AXIS | {"format": ",d"}},
            "y": y | {"axis": AXIS | {"tickCount": 5} | EXTENT},
            "detail": {"field": "statistic"},
            "color": {"field": "state", "type": "nominal", "scale": colour, "legend": None},
        },
    }
    text = {"type": "text", "align": "right", "dy": -6, "x": "width", "color": "#0f172a"}
    rule = {
        "data": {"values": [{"limit": limit, "text": "limit"}]},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#0f172a"}},
            {"mark": text, "encoding": {"text": {"field": "text"}}},
        ],
        "encoding": {"y": {"field": "limit", "type": "quantitative", "scale": scale}},
    }
    return {
        "width": COLUMNS * WIDTH + (COLUMNS - 1) * SPACING,
        "height": 150,
        "title": HEADING | {"text": "Evidence of a change, by the number of images"},
        "layer": [lines, rule],
    }


def _points(record: Record, alarmed: set[str], top: float) -> list[dict[str, Any]]:
    """Returns the evidence of each statistic at each time, between LOWEST and `top`."""
    start = Point(until=record.first, images=0, evidence=dict.fromkeys((item.name for item in record.comparisons), 0.0))
    return [
        {
            "images": point.images,
            "evidence": min(max(value, LOWEST), top),
            "statistic": title(name),
            "state": "alarm" if name in alarmed else "quiet",
        }
        for point in [start, *record.history]
        for name, value in point.evidence.items()
    ]


def _beside_reference(item: ComparisonRecord, is_alarm: bool) -> dict[str, Any]:
    """Returns the chart of one statistic: the share of images in each bin, in the reference and lately."""
    names = [one_line(name) for name in item.bins] or ["lower", *(f"{edge:.4g}" for edge in item.edges)]
    total, lately = sum(item.reference), sum(item.recent) or 1
    rows = [
        {"bin": number, "name": name, "reference": known / total, "seen": seen / lately}
        for number, (name, known, seen) in enumerate(zip(names, item.reference, item.recent, strict=True))
    ]
    colour = ALARM if is_alarm else SEEN
    angle = 0 if item.name in (CLASSES, UNSURE) and max(len(name) for name in names) < 8 else -40
    axis = AXIS | {"labelExpr": f"{json.dumps(names)}[datum.value]", "labelAngle": angle, "ticks": False}
    x = {"field": "bin", "type": "ordinal", "title": None, "axis": axis | EXTENT}
    y = {"type": "quantitative", "title": None, "axis": AXIS | {"format": ".0%", "tickCount": 3} | EXTENT}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "title": HEADING | {"text": title(item.name), "color": ALARM if is_alarm else "#0f172a"},
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "bar", "color": REFERENCE}, "encoding": {"x": x, "y": y | {"field": "reference"}}},
            {"mark": {"type": "bar", "color": colour, "width": {"band": 0.4}},
             "encoding": {"x": x, "y": y | {"field": "seen"}}},
        ],
    }  # fmt: skip
