"""Draws what was used after each run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#1f6f8b", "#c8553d", "#5b8c5a", "#8d6a9f", "#b0892f")
PANELS: dict[str, dict[str, str]] = {  # title: the quantities, with their names
    "Memory (resident), MB": {
        "server_mb": "server", "worker_mb": "worker", "fork_server_mb": "fork server", "up_mb": "inkflow up"
    },
    "Open files and processes, after a prune": {"open_files": "open files", "processes": "processes"},
    "Server's database, MB": {"database_mb": "database"},
    "Disk, after a prune, MB": {
        "cache_mb": "DVC cache", "git_mb": "Git", "state_mb": ".inkflow", "home_mb": "logs", "temporary_mb": "temporary"
    },
    "Processor time of all processes for a run, s": {"run_cpu_s": "each run"},
    "Time of a run, s": {"run_s": "by the server's clock"},
}  # fmt: skip
SETTLED = ("Open files and processes, after a prune", "Disk, after a prune, MB")
WINDOW = 25  # runs of the median that is drawn over single runs


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the chart of `rows` as SVG."""
    with rc_context({"svg.hashsalt": "inkflow", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 6.8), layout="constrained")
        for axes, (title, names) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
            used = [row for row in rows if row["pruned"]] if title in SETTLED else rows
            _panel(axes, used, title, names)
        figure.savefig(path, metadata={"Date": None})


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], title: str, names: Mapping[str, str]) -> None:
    runs = np.array([int(row["run"]) for row in rows])
    for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
        values = np.array([float(row[name]) for row in rows])
        if name.startswith("run_") and len(rows) > WINDOW:
            axes.plot(runs, values, ".", color=colour, alpha=0.25, markersize=3, label=label)
            medians = [np.median(values[max(0, end - WINDOW) : end]) for end in range(1, len(values) + 1)]
            axes.plot(runs, medians, color=colour, label=f"median of {WINDOW}")
            axes.set_ylim(top=1.5 * float(np.percentile(values, 95)))
        else:
            axes.plot(runs, values, color=colour, label=label)
    axes.set_ylim(bottom=0)  # after all: it ends the scaling
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(  # below the chart: inside, it covers a line
        title="by the number of the run", title_fontsize=8, alignment="left", frameon=False, fontsize=8,
        loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3, handlelength=1.2, columnspacing=1.2, borderaxespad=0,
    )  # fmt: skip
