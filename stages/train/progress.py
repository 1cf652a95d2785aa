"""Progress of a training: one plain line per epoch, and a live bar on a terminal."""

import sys
from typing import NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Epoch(NamedTuple):
    """One line of history.csv; `epoch` counts from 1, `metric` is accuracy or the task's other metric."""

    epoch: int
    loss: float
    metric: float
    val_loss: float
    val_metric: float


def columns(metric: str) -> tuple[str, ...]:
    """Returns the column names of history.csv for a metric called `metric`."""
    return ("epoch", "loss", metric, "val_loss", f"val_{metric}")


class ProgressReporter:
    """Shows the progress of `epochs` epochs of `steps` steps each, within a `with` block."""

    def __init__(self, epochs: int, steps: int, metric: str = "accuracy", console: Console | None = None) -> None:
        self._epochs, self._steps, self._metric = epochs, steps, metric
        console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn(f"loss {{task.fields[loss]:.4f}}  {metric} {{task.fields[metric]:.4f}}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # if not a terminal, its lines must not go to the bar's console
        )
        self._task = self._bar.add_task("training", total=epochs * steps, epoch=1, epochs=epochs, loss=0.0, metric=0.0)

    def __enter__(self) -> Self:
        """Starts the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the bar."""
        self._bar.stop()

    def step(self, epoch: int, step: int, loss: float, metric: float) -> None:
        """Updates the bar: `step` steps of `epoch` are done; both count from 1."""
        done = (epoch - 1) * self._steps + step
        self._bar.update(self._task, completed=done, epoch=epoch, loss=loss, metric=metric)

    def epoch(self, result: Epoch) -> None:
        """Prints the line of an epoch."""
        values = list(zip(columns(self._metric), result, strict=True))[1:]
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in values)
        print(f"epoch {result.epoch}/{self._epochs}  {numbers}", flush=True)
