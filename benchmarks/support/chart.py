"""Draws docs/scale.svg from the section `scale` of benchmarks/results.json.

python -m benchmarks.support.chart
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.support.report import PAGE, RESULTS

CHART = PAGE.with_name("scale.svg")
COLOURS = {"inkflow": "#1f6f8b", "dvc": "#c8553d"}
NAMES = {"inkflow": "inkflow", "dvc": "dvc repro"}
PANELS = (
    ("run", "overhead_ms_a_stage", "Overhead of a stage that runs:\nprocessor time, ms"),
    ("idle", "processor_s", "Nothing to do:\nprocessor time, s"),
    ("idle", "peak_mb", "Nothing to do:\npeak memory, MB"),
)


def draw(measurements: Sequence[Mapping[str, Any]]) -> None:
    """Write the chart of these lines of `python -m benchmarks.scale`."""
    with rc_context({"svg.hashsalt": "inkflow", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        panels = {
            (figure_name, title): lines
            for kind, figure_name, title in PANELS
            if len(lines := [line for line in measurements if line["kind"] == kind]) > 1
        }
        all_axes = figure.subplots(1, len(panels))
        for axes, ((figure_name, title), lines) in zip(all_axes, panels.items(), strict=True):
            _panel(axes, lines, figure_name, title)
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(CHART, metadata={"Date": None})


def _panel(axes: Axes, lines: Sequence[Mapping[str, Any]], figure_name: str, title: str) -> None:
    """Draw one figure of both sides by the number of stages."""
    for side, colour in COLOURS.items():
        points = [(line["stages"], line[f"{side}_{figure_name}"]) for line in lines if f"{side}_{figure_name}" in line]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=NAMES[side])
    axes.set(xlabel="stages")
    axes.set_title(title, fontsize=10)
    axes.set_xscale("log")  # sizes differ by a factor of 30: their labels would touch
    axes.set_xticks(sorted({line["stages"] for line in lines}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw the chart of the results."""
    draw(json.loads(RESULTS.read_text(encoding="utf-8"))["scale"]["measurements"])


if __name__ == "__main__":
    main()
