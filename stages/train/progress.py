"""Progress of a training: one plain line per epoch, and a live bar on a terminal."""

import math
import sys
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Epoch(tuple[float, ...]):
    """One line of history.csv, in the order of `columns`: metrics beside the first one follow after `val_metric`."""

    def __new__(cls, epoch: int, loss: float, metric: float, *others: float) -> Self:
        """Builds the line of `epoch`, which counts from 1; `metric` is accuracy or the task's other metric."""
        return super().__new__(cls, (epoch, loss, metric, *others))

    @property
    def epoch(self) -> int:
        """Number of the epoch, from 1."""
        return int(self[0])

    @property
    def loss(self) -> float:
        """Mean training loss of the epoch."""
        return self[1]

    @property
    def metric(self) -> float:
        """Training accuracy of the epoch, or the task's other metric."""
        return self[2]

    @property
    def val_loss(self) -> float:
        """Validation loss after the epoch."""
        return self[3]

    @property
    def val_metric(self) -> float:
        """Validation accuracy after the epoch, or the task's other metric."""
        return self[4]


def columns(metric: str, further: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the column names of history.csv for a metric called `metric`, and `further` ones."""
    return ("epoch", "loss", metric, "val_loss", f"val_{metric}", *further, *(f"val_{name}" for name in further))


class ProgressReporter:
    """Shows the progress of `epochs` epochs of `steps` steps each, within a `with` block."""

    def __init__(
        self,
        epochs: int,
        steps: int,
        metric: str = "accuracy",
        console: Console | None = None,
        further: Sequence[str] = (),
    ) -> None:
        self._epochs, self._steps, self._columns = epochs, steps, columns(metric, further)
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

    def logs(self, result: Epoch) -> dict[str, float]:
        """Returns the known values of an epoch by column, as Keras gives them to callbacks."""
        values = zip(self._columns[1:], result[1:], strict=True)
        return {name: value for name, value in values if not math.isnan(value)}

    def epoch(self, result: Epoch) -> None:
        """Prints the line of an epoch."""
        numbers = "  ".join(f"{name} {_number(value)}" for name, value in self.logs(result).items())
        print(f"epoch {result.epoch}/{self._epochs}  {numbers}", flush=True)


def _number(value: float) -> str:
    """Returns a figure with four decimals, or as 8.2e+16 where it is large."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3g}"
