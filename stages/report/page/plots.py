"""The picture of all scores as PNG, for pages that show no HTML."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stages.report.statistics.intervals import Interval

STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so that widths are the same everywhere
    "font.size": 9,
    "text.color": "#333",
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "axes.labelcolor": "#333",
    "axes.edgecolor": "#ccc",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#ddd",
    "grid.linewidth": 0.6,
    "xtick.color": "#020202",
    "xtick.labelcolor": "#333",
    "ytick.color": "#020202",
    "ytick.labelcolor": "#333",
    "ytick.major.size": 0,
    "text.parse_math": False,  # a model's name is no formula
}
BLUE = "#1d5fa8"


def scores_picture(names: Sequence[str], scores: Sequence[float], intervals: Sequence[Interval], label: str) -> bytes:
    """Returns a PNG on white of each model's score with its 95% interval, the first model on top."""
    with _style():
        figure = Figure(figsize=(7, 1.1 + 0.32 * len(names)), layout="constrained", dpi=110)
        axes = figure.add_subplot()
        rows = range(len(names), 0, -1)
        known = [(row, *ends) for row, ends in zip(rows, intervals, strict=True) if ends.is_known]
        if known:
            axes.hlines(*zip(*known, strict=True), color=BLUE, linewidth=2)
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
def _style() -> Iterator[None]:
    """Draws in STYLE within the block; a `matplotlibrc` of the user has no effect."""
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    with mpl.rc_context({**defaults, **STYLE}):
        yield
