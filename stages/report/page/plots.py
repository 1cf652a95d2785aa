"""Plots of the report: SVG with the colours and the font of the page around it, and a PNG of the scores."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from stages.report.statistics.intervals import Interval
from stages.report.statistics.smoothing import smooth

# Matplotlib draws in these colours; the page replaces them by its variables, for light and dark.
INK, FAINT, TRAINING, VALIDATION = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "--muted", FAINT: "--rule", TRAINING: "--training", VALIDATION: "--validation"}
STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so that widths are the same everywhere
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
PNG_STYLE = {
    "figure.facecolor": "white",
    "text.color": "#333",
    "axes.labelcolor": "#333",
    "axes.edgecolor": "#ccc",
    "grid.color": "#ddd",
    "xtick.labelcolor": "#333",
    "ytick.labelcolor": "#333",
    "text.parse_math": False,  # a model's name is no formula
}
BLUE = "#1d5fa8"
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
SIZE_INCHES = (4.6, 2.3)
TALL_INCHES = (4.6, 2.9)


def learning_curve(
    history: pd.DataFrame, quantity: str, title: str, factor: float | None, salt: str, best: int | None = None
) -> Markup:
    """Returns an SVG of `quantity` by epoch, for training and validation.

    Args:
        history: columns `epoch`, `quantity` and `val_` + `quantity`.
        quantity: name of the column.
        title: title of the plot.
        factor: smoothing factor of the bold lines, which then lie over thin raw ones; None for bold raw lines.
        salt: makes the identifiers unique in a page with several plots.
        best: epoch to mark.
    """
    with _style({"svg.hashsalt": salt}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        _line(axes, history, f"val_{quantity}", factor, VALIDATION, "s")
        _line(axes, history, quantity, factor, TRAINING, "o")
        if best is not None:
            axes.axvline(best, color=INK, linewidth=1, linestyle=(0, (2, 2)))
            axes.annotate(f"best {best}", (best, 1), (0, 2), xycoords=("data", "axes fraction"),
                          textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=16)  # above the mark of the best epoch
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        return _inline(figure)


def reliability_diagram(bins: pd.DataFrame, salt: str, noun: str = "image") -> Markup:
    """Returns an SVG of each bin's accuracy with its 95% interval by the probability; below, the number of samples."""
    with _style({"svg.hashsalt": salt}):
        figure = Figure(figsize=TALL_INCHES, layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        widths = bins["high"] - bins["low"]
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.vlines(bins["confidence"], bins["low95"], bins["high95"], color=TRAINING, linewidth=2, alpha=0.45)
        axes.plot(bins["confidence"], bins["accuracy"], "o", color=TRAINING, markersize=4.5, clip_on=False)
        axes.set_title("Accuracy by predicted probability", loc="left", fontsize=10, fontweight="bold")
        axes.set_ylim(0, 1.03)
        below.bar(bins["low"] + widths / 2, bins["images"], 0.92 * widths, color=TRAINING, alpha=0.6)
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        below.set_ylabel(f"{noun}s")
        below.set_xlim(0, 1)
        below.set_xlabel("probability of the predicted class")
        for axis in (axes.yaxis, below.xaxis):
            axis.set_major_formatter(PercentFormatter(xmax=1))
        return _inline(figure)


def values_diagram(targets: NDArray[Any], values: NDArray[Any], salt: str, cells: int = 40) -> Markup:
    """Returns an SVG of predicted `values` (n,) by `targets` (n,) as a density of `cells` in each direction."""
    with _style({"svg.hashsalt": salt}):
        figure = Figure(figsize=TALL_INCHES, layout="constrained")
        axes = figure.add_subplot()
        true, predicted = targets.astype(float), values.astype(float)
        columns = np.unique(true)  # a column for each true value, where there are few
        if len(columns) > cells:
            columns = np.linspace(true.min(), true.max(), cells)
        nearest = np.searchsorted((columns[1:] + columns[:-1]) / 2, true)
        counts, _, edges = np.histogram2d(nearest, predicted, (np.arange(len(columns) + 1) - 0.5, cells))
        column, row = np.nonzero(counts)
        strength = 0.15 + 0.85 * np.sqrt(counts[column, row] / counts.max())
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        middles = (edges[row] + edges[row + 1]) / 2
        axes.scatter(columns[column], middles, 10, color=TRAINING, alpha=strength, marker="s", linewidths=0)
        axes.set_title("Predicted by true value", loc="left", fontsize=10, fontweight="bold")
        axes.set_xlabel("true value")
        return _inline(figure)


def scores_picture(names: Sequence[str], scores: Sequence[float], intervals: Sequence[Interval], label: str) -> bytes:
    """Returns a PNG on white of each model's score with its 95% interval, the first model on top."""
    with _style(PNG_STYLE):
        figure = Figure(figsize=(7, 1.1 + 0.32 * len(names)), layout="constrained", dpi=110)
        axes = figure.add_subplot()
        rows = range(len(names), 0, -1)
        axes.hlines(rows, [low for low, _ in intervals], [high for _, high in intervals], color=BLUE, linewidth=2)
        axes.plot(scores, rows, "o", color=BLUE, markersize=6)
        axes.set_yticks(list(rows), list(names), fontsize=9)
        axes.set_ylim(0.4, len(names) + 0.6)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{label}, with 95% interval")
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
        return buffer.getvalue()


@contextmanager
def _style(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draws in STYLE and `settings` within the block; a `matplotlibrc` of the user has no effect."""
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    with mpl.rc_context({**defaults, **STYLE, **settings}):
        yield


def _line(axes: Axes, history: pd.DataFrame, column: str, factor: float | None, colour: str, marker: str) -> None:
    epochs, values = history["epoch"], history[column]
    if factor is None:
        axes.plot(epochs, values, color=colour, linewidth=2, marker=marker, markersize=4)
        return
    axes.plot(epochs, values, color=colour, alpha=0.6, linewidth=1, marker=marker, markersize=3)
    axes.plot(epochs, smooth(values, factor), color=colour, linewidth=2)


def _inline(figure: Figure) -> Markup:
    """Returns the figure as an SVG element, without the parts that only a separate file needs."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=NO_METADATA)
    svg = buffer.getvalue()
    view = re.search(r'viewBox="[^"]+"', svg)
    content = svg[svg.index("<defs>") : svg.rindex("</svg>")]
    content = re.sub(r'<g id="[^"]*"', "<g", content)
    content = re.sub(r"(font-family: )?'DejaVu Sans'(, [^;\"]*)?; ?", "", content)
    for colour, variable in VARIABLES.items():
        content = content.replace(colour, f"var({variable})")
    # Markup: Matplotlib's own output, drawn from numbers and fixed words alone.
    return Markup(f'<svg {view.group() if view else ""} aria-hidden="true">{content}</svg>')
