"""The trials of a sweep: one combination each, with its result, and the source that decides which trials run."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flows.core.errors import Interrupted, Pruned
from flows.engine.types import Outcome
from flows.experiments.grid import Combination
from stages.base.errors import InkflowError


@dataclass
class Trial:
    """One combination and its result.

    Attributes:
        combination: the parameters.
        experiment: name of the DVC experiment.
        metrics: content of metrics files, by path.
        running: names of the stages that have printed a line, and so were not restored.
        pruned: why the trial was ended early; empty if it was not.
        started_s: when it started, by the monotonic clock; 0 before.
        seconds: how long it took.
    """

    combination: Combination
    experiment: str
    outcome: Outcome | None = None
    summary: str = ""
    error: InkflowError | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    pruned: str = ""
    started_s: float = 0.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Name for messages, and of the task in Prefect."""
        return self.combination.name

    @property
    def state(self) -> str:
        """`ran`, `restored`, `pruned`, `failed`; `not run` if the sweep was interrupted."""
        if isinstance(self.error, Pruned):
            return "pruned"
        if self.error is not None and not isinstance(self.error, Interrupted):
            return "failed"
        if self.outcome is None:
            return "not run"
        return "ran" if self.outcome is Outcome.RAN else "restored"

    @property
    def is_failure(self) -> bool:
        """Whether the trial failed or was interrupted; a pruned one did neither."""
        return self.error is not None and not isinstance(self.error, Pruned)


class TrialSource(Protocol):
    """Decides which trials run; called from the threads of the sweep."""

    trials: list[Trial]

    @property
    def noun(self) -> str:
        """Word for the trials, for messages."""

    @property
    def parallel(self) -> int | None:
        """Number of trials that may run at the same time; None if `--jobs` of the stages decides."""

    @property
    def is_interrupted(self) -> bool:
        """Whether an interrupt ended the source, also if no trial was running."""

    def begin(self) -> None:
        """Called once before the first trial, when no other sweep runs in the project."""

    def next(self) -> Trial | None:
        """Returns the next trial, which is in `trials` from now on; None if there is none."""

    def watch(self, trial: Trial, project: Path, end: Callable[[], None]) -> AbstractContextManager[None]:
        """Watches a trial that runs in the clone `project` during the block; `end` ends it early."""

    def finish(self, trial: Trial, project: Path) -> None:
        """Called with each trial whose stages are up to date, before its clone is removed.

        Raises:
            InkflowError: the trial counts as failed.
        """

    def close(self, trial: Trial) -> None:
        """Called with each trial that has ended, whatever its end, with its experiment's final name.

        Raises:
            InkflowError: the end cannot be recorded.
        """

    def interrupt(self) -> None:
        """No further trial has to start."""

    def report(self) -> Path | None:
        """Writes pages about all trials, and returns their folder; None if there are none."""


class GridTrials:
    """The trials of a grid: each combination once, in their order."""

    noun = "combinations"
    parallel = None
    is_interrupted = False  # its trials have the state `not run`

    def __init__(self, combinations: Sequence[Combination], keys: Collection[str]) -> None:
        self.trials = [Trial(combination, combination.experiment(keys)) for combination in combinations]
        self._remaining = iter(list(self.trials))
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Does nothing: each combination has a time of its own."""

    def next(self) -> Trial | None:
        """Returns the next combination; those after an interrupt too, so that each has a state."""
        with self._lock:
            trial = next(self._remaining, None)
            if trial is not None:
                trial.started_s = time.monotonic()
            return trial

    @contextmanager
    def watch(self, trial: Trial, project: Path, end: Callable[[], None]) -> Iterator[None]:
        """Watches nothing: each combination runs to its end."""
        yield

    def finish(self, trial: Trial, project: Path) -> None:
        """Does nothing: the metrics of a trial are in it."""

    def close(self, trial: Trial) -> None:
        """Measures the time of the trial."""
        trial.seconds = time.monotonic() - trial.started_s

    def interrupt(self) -> None:
        """Does nothing: the runner lets no trial start."""

    def report(self) -> Path | None:
        """Returns None: a grid has its table."""
        return None
