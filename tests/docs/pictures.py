"""Pictures of the documentation site as SVG, drawn from Mermaid's text and from the walls in pyproject.toml.

GitHub draws Mermaid itself; its JavaScript is not ours to keep, and the site works without a network. Flowcharts from
left to right and sequence diagrams are drawn, with the parts of their syntax that the pages use. Colours are variables
of docs/site/style.css.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from stages.base.errors import InvalidInput

CHARACTER, LINE, PADDING = 7.4, 17, 12  # pixels at 13 px: width of a letter, height of a line, inside a box
COLUMN_GAP, ROW_GAP, WRAP = 32, 18, 15  # WRAP: letters in a line of a box
SMALLEST = 0.8  # of its size: a picture that needs more room scrolls
NODE = re.compile(r'(?P<id>[\w@]+)(?:\["(?P<label>[^"]+)"\])?')
EDGE = re.compile(r'\s*(\w+(?:\["[^"]+"\])?)\s*(<-->|-->)\s*(\w+(?:\["[^"]+"\])?)\s*')
MESSAGE = re.compile(r"(?P<from>\w+)(?P<arrow>-->>|->>)(?P<to>\w+):\s*(?P<text>.+)")


@dataclass
class Flowchart:
    """A flowchart: the label of each node, and the edges from left to right; True if both ends have an arrow."""

    labels: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str, bool]] = field(default_factory=list)


def parse_flowchart(text: str) -> Flowchart:
    """Returns the flowchart in Mermaid's text, which begins with `flowchart LR`.

    Raises:
        InvalidInput: a line is no edge.
    """
    chart = Flowchart()
    for line in text.strip().splitlines()[1:]:
        match = EDGE.fullmatch(line)
        if match is None:
            raise InvalidInput(f"a flowchart has the line {line.strip()!r}, expected `a --> b` or `a <--> b`")
        ends = []
        for part in (match[1], match[3]):
            node = NODE.fullmatch(part)
            assert node is not None  # part of EDGE
            if node["label"] or node["id"] not in chart.labels:
                chart.labels[node["id"]] = node["label"] or node["id"]
            ends.append(node["id"])
        chart.edges.append((ends[0], ends[1], match[2] == "<-->"))
    return chart


def draw_flowchart(chart: Flowchart) -> str:
    """Returns an SVG with the nodes in columns: each one to the right of those with an edge to it."""
    rows, paths = _layout(chart)
    lines = {name: textwrap.wrap(chart.labels.get(name, ""), WRAP) for row in rows for name in row}
    heights = {name: len(text) * LINE + PADDING if text else 0 for name, text in lines.items()}
    height = max(sum(heights[name] + ROW_GAP for name in row) for row in rows)
    boxes: dict[str, tuple[float, float, float, float]] = {}
    x = 2.0
    for row in rows:
        width = max(len(line) for name in row for line in lines[name]) * CHARACTER + 2 * PADDING
        y = (height - sum(heights[name] + ROW_GAP for name in row) + ROW_GAP) / 2
        for name in row:
            boxes[name] = (x, y, width, heights[name])
            y += heights[name] + ROW_GAP
        x += width + COLUMN_GAP
    edges = [_edge([boxes[name] for name in path], is_double) for path, is_double in paths]
    nodes = [_box(boxes[name], lines[name]) for name in chart.labels]
    return _svg(x - COLUMN_GAP + 2, height, [*edges, *nodes], _description(chart))


def _layout(chart: Flowchart) -> tuple[list[list[str]], list[tuple[list[str], bool]]]:
    """Returns the names in each column, and the path of each edge: nodes, and places in columns between.

    In a column the order is that of the nodes before them, so that few edges cross.
    """
    columns = _columns(chart)
    rows: list[list[str]] = [[] for _ in range(max(columns.values()) + 1)]
    for name in chart.labels:
        rows[columns[name]].append(name)
    paths = []
    for number, (left, right, is_double) in enumerate(chart.edges):
        places = [f"{number}/{column}" for column in range(columns[left] + 1, columns[right])]
        for column, place in enumerate(places, columns[left] + 1):
            rows[column].append(place)
        paths.append(([left, *places, right], is_double))
    for before, row in pairwise(rows):
        positions = {name: index / len(before) for index, name in enumerate(before)}
        sources: dict[str, list[float]] = {}
        for path, _ in paths:
            for left, right in pairwise(path):
                if left in positions and right in row:
                    sources.setdefault(right, []).append(positions[left])
        row.sort(key=lambda name: sum(sources.get(name, [0])) / len(sources.get(name, [0])))
    return rows, paths


def _columns(chart: Flowchart) -> dict[str, int]:
    """Returns the column of each node: the length of the longest path to it."""
    columns = dict.fromkeys(chart.labels, 0)
    for _ in columns:  # no path is longer
        for left, right, _ in chart.edges:
            columns[right] = max(columns[right], columns[left] + 1)
    if max(columns.values()) >= len(columns):
        raise InvalidInput("a flowchart has a circle, expected none; draw one of its edges the other way round")
    return columns


def _description(chart: Flowchart) -> str:
    return "; ".join(f"{chart.labels[left]} to {chart.labels[right]}" for left, right, _ in chart.edges)


def draw_sequence(text: str) -> str:
    """Returns an SVG of a sequence diagram in Mermaid's text."""
    names: dict[str, str] = {}
    messages: list[tuple[str, str, bool, str]] = []
    for line in text.strip().splitlines()[1:]:
        words = line.split(maxsplit=3)
        if words[0] == "participant":
            names[words[1]] = words[3]
        elif match := MESSAGE.fullmatch(line.strip()):
            messages.append((match["from"], match["to"], match["arrow"] == "-->>", match["text"]))
        else:
            raise InvalidInput(f"a sequence diagram has the line {line.strip()!r}, expected `a->>b: text`")
    gap, row, top = 190, 40, 30
    centres = {name: 70 + gap * index for index, name in enumerate(names)}
    width, height = 140 + gap * (len(names) - 1), top + row * (len(messages) + 1)
    parts = [f'<line class="life" x1="{x}" y1="{top}" x2="{x}" y2="{height - 6}"/>' for x in centres.values()]
    parts += [_box((x - 66, 1, 132, top), [names[name]]) for name, x in centres.items()]
    for number, (start, end, is_dashed, message) in enumerate(messages, 1):
        y = top + row * number
        is_last = start == list(names)[-1]
        parts.append(_message(centres[start], centres[end], y, message, is_dashed=is_dashed, is_last=is_last))
    description = "; ".join(f"{names[start]} to {names[end]}: {message}" for start, end, _, message in messages)
    return _svg(width, height, parts, description)


def _message(start: float, end: float, y: float, text: str, *, is_dashed: bool, is_last: bool) -> str:
    """Returns an arrow with its text; a message to itself has it on the side where there is room."""
    kind = "edge dashed" if is_dashed else "edge"
    if start == end:
        side = -1 if is_last else 1
        path = f"M{start:g} {y - 8:g} h{22 * side} v12 h{-18 * side}"
        words = _text(start + 28 * side, y + 3, text, "end" if is_last else "start")
        return f'<path class="{kind}" d="{path}" marker-end="url(#tip)"/>{words}'
    tip = end - 3 if end > start else end + 3
    line = f'<path class="{kind}" d="M{start:g} {y:g} H{tip:g}" marker-end="url(#tip)"/>'
    return line + _text(min(start, end) + 8, y - 5, text, "start")


def draw_walls(package: str, layers: Sequence[Sequence[str]]) -> str:
    """Returns an SVG of the layers of a package, the highest first; imports go down."""
    width, height, gap = 760.0, 40.0, 8.0
    parts = []
    for number, layer in enumerate(layers):
        y, room = number * (height + gap) + 2, (width - gap * (len(layer) - 1)) / len(layer)
        for index, name in enumerate(layer):
            parts.append(_box((1 + index * (room + gap), y, room - 2, height), [name]))
    rows = "; ".join(", ".join(layer) for layer in layers)
    return _svg(width, len(layers) * (height + gap), parts, f"The layers of {package}, the highest first: {rows}")


def _box(box: tuple[float, float, float, float], lines: Sequence[str]) -> str:
    x, y, width, height = box
    first = y + height / 2 - (len(lines) - 1) * LINE / 2 + 4.5
    texts = [_text(x + width / 2, first + number * LINE, line) for number, line in enumerate(lines)]
    rectangle = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
    return f"<g>{rectangle}{''.join(texts)}</g>"


def _edge(boxes: Sequence[tuple[float, float, float, float]], is_double: bool) -> str:
    """Returns a curve from the first box to the last one, straight through the places between them."""
    first, last = boxes[0], boxes[-1]
    x, y = first[0] + first[2] + (3 if is_double else 0), first[1] + first[3] / 2
    path = f"M{x:g} {y:g}"
    for box in boxes[1:]:
        end_x, end_y = box[0] - (3 if box is last else 0), box[1] + box[3] / 2
        bend = (end_x - x) / 2
        path += f" C{x + bend:g} {y:g} {end_x - bend:g} {end_y:g} {end_x:g} {end_y:g}"
        x, y = box[0] + box[2], end_y
        path += "" if box is last else f" H{x:g}"
    start = ' marker-start="url(#tip)"' if is_double else ""
    return f'<path class="edge" d="{path}" marker-end="url(#tip)"{start}/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{_plain(text)}</text>'


def _plain(text: str) -> str:
    """Returns text in which neither HTML nor Markdown finds marks of its own."""
    return re.sub(r"[_*`]", lambda match: f"&#{ord(match[0])};", escape(text))


def _svg(width: float, height: float, parts: Iterable[str], description: str) -> str:
    """Returns the parts as an SVG element in one line, as Markdown needs it, with a description for screen readers."""
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    )
    limits = f"max-width:{width:g}px;min-width:{SMALLEST * width:g}px"
    size = f'viewBox="0 0 {width:g} {height:g}" style="{limits}"'
    label = f'role="img" aria-label="{_plain(description)}"'
    return f'<div class="picture" tabindex="0"><svg {size} {label}>{tip}{"".join(parts)}</svg></div>'
