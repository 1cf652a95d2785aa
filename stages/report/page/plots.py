"""Learning curves and reliability diagrams as SVG that takes its colours and its type from the page around it."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from stages.report.statistics.intervals import Interval, smoothed

# Matplotlib draws in these colours; in the page they become its variables, for light and dark.
INK, FAINT, TRAINING, VALIDATION = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "--muted", FAINT: "--rule", TRAINING: "--training", VALIDATION: "--validation"}
STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same measures everywhere
    "font.size": 9,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
}
ON_PAPER = {
    "figure.facecolor": "white",
    "text.color": "#333",
    "axes.labelcolor": "#333",
    "axes.edgecolor": "#ccc",
    "grid.color": "#ddd",
    "xtick.labelcolor": "#333",
    "ytick.labelcolor": "#333",
    "text.parse_math": False,  # names are names, whatever they hold
}
BLUE = "#1d5fa8"
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
SIZE_INCHES = (4.6, 2.3)
RELIABILITY_INCHES = (4.6, 2.9)


def learning_curve(
    history: pd.DataFrame, quantity: str, heading: str, factor: float | None, salt: str, best: int | None = None
) -> str:
    """SVG of `quantity` by epoch: training and validation, raw faint and smoothed by `factor` bold, `best` marked.

    Without a `factor` the raw ones are bold.

    `salt` keeps identifiers apart in a page with several curves.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        _line(axes, history, f"val_{quantity}", factor, VALIDATION, "s")
        _line(axes, history, quantity, factor, TRAINING, "o")
        if best is not None:
            axes.axvline(best, color=INK, linewidth=1, linestyle=(0, (2, 2)))
            axes.annotate(f"best {best}", (best, 1), (0, 2), xycoords=("data", "axes fraction"),
                          textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
        axes.set_title(heading, loc="left", fontsize=10, fontweight="bold", pad=16)  # above the mark of the best epoch
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        return _inline(figure)


def reliability_diagram(bins: pd.DataFrame, salt: str) -> str:
    """SVG of the share right of each bin with its 95% interval, by the probability given; below, how many images."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=RELIABILITY_INCHES, layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        widths = bins["high"] - bins["low"]
        middles = bins["low"] + widths / 2
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.vlines(bins["confidence"], bins["low95"], bins["high95"], color=TRAINING, linewidth=2, alpha=0.45)
        axes.plot(bins["confidence"], bins["accuracy"], "o", color=TRAINING, markersize=4.5, clip_on=False)
        axes.set_title("Right, by the probability given", loc="left", fontsize=10, fontweight="bold")
        axes.set_ylim(0, 1.03)
        below.bar(middles, bins["images"], 0.92 * widths, color=TRAINING, alpha=0.6)
        below.set_yscale("log")
        below.set_ylabel("images")
        below.set_xlim(0, 1)
        below.set_xlabel("probability of the answer")
        for axis in (axes.yaxis, below.xaxis):
            axis.set_major_formatter(PercentFormatter(xmax=1))
        return _inline(figure)


def values_diagram(true: NDArray[Any], said: NDArray[Any], salt: str, cells: int = 40) -> str:
    """SVG of predicted (n,) by true values (n,) as a density of `cells` in each direction, the diagonal behind."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=RELIABILITY_INCHES, layout="constrained")
        axes = figure.add_subplot()
        label, predicted = true.astype(float), said.astype(float)
        places = np.unique(label)  # of few true values each keeps its own place
        if len(places) > cells:
            places = np.linspace(label.min(), label.max(), cells)
        nearest = np.searchsorted((places[1:] + places[:-1]) / 2, label)
        counts, _, ys = np.histogram2d(nearest, predicted, (np.arange(len(places) + 1) - 0.5, cells))
        across, up = np.nonzero(counts)
        x, y = places[across], (ys[up] + ys[up + 1]) / 2
        strength = 0.15 + 0.85 * np.sqrt(counts[across, up] / counts.max())
        ends = [min(label.min(), predicted.min()), max(label.max(), predicted.max())]
        axes.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.scatter(x, y, 10, color=TRAINING, alpha=strength, marker="s", linewidths=0)
        axes.set_title("Predicted, by true value", loc="left", fontsize=10, fontweight="bold")
        axes.set_xlabel("true value")
        return _inline(figure)


def scores_picture(names: Sequence[str], scores: Sequence[float], intervals: Sequence[Interval], label: str) -> bytes:
    """PNG on white of each model's score with its 95% interval, the first model on top."""
    with mpl.rc_context({**STYLE, **ON_PAPER}):
        figure = Figure(figsize=(7, 1.1 + 0.32 * len(names)), layout="constrained", dpi=110)
        axes = figure.add_subplot()
        places = range(len(names), 0, -1)
        axes.hlines(places, [low for low, _ in intervals], [high for _, high in intervals], color=BLUE, linewidth=2)
        axes.plot(scores, places, "o", color=BLUE, markersize=6)
        axes.set_yticks(list(places), list(names), fontsize=9)
        axes.set_ylim(0.4, len(names) + 0.6)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{label}, with 95% interval")
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
        return buffer.getvalue()


def _line(axes: Axes, history: pd.DataFrame, name: str, factor: float | None, colour: str, mark: str) -> None:
    epochs, values = history["epoch"], history[name]
    if factor is None:
        axes.plot(epochs, values, color=colour, linewidth=2, marker=mark, markersize=4)
        return
    axes.plot(epochs, values, color=colour, alpha=0.6, linewidth=1, marker=mark, markersize=3)
    axes.plot(epochs, smoothed(values, factor), color=colour, linewidth=2)


def _inline(figure: Figure) -> str:
    """The figure as an SVG element, without what only a file of its own needs."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=NO_METADATA)
    svg = buffer.getvalue()
    view = re.search(r'viewBox="[^"]+"', svg)
    content = svg[svg.index("<defs>") : svg.rindex("</svg>")]
    content = re.sub(r'<g id="[^"]*"', "<g", content)
    content = re.sub(r"(font-family: )?'DejaVu Sans'(, [^;\"]*)?; ?", "", content)
    for colour, variable in VARIABLES.items():
        content = content.replace(colour, f"var({variable})")
    return f'<svg {view.group() if view else ""} aria-hidden="true">{content}</svg>'
