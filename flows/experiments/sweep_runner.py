"""The trials of a sweep: each combination in a clone of the project, several at a time, each recorded by DVC."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.core.code_path import CODE
from flows.core.errors import Interrupted, StageFailed
from flows.core.file_lock import only_run_here
from flows.dvc_repo.experiments import Experiments
from flows.engine import resources
from flows.engine.display.plain import Display
from flows.engine.processes.command_runner import KEPT_LINES, MARK, mark, tied_to_us
from flows.engine.stage_events import StageEvents
from flows.engine.types import Outcome, Result, Stage
from flows.experiments.grid import Combination
from flows.experiments.trial_process import TrialOrder
from stages.base.errors import InkflowError

# Our own modules, not those of the clone, and nothing added to the environment, which stages inherit.
PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop()); from flows.experiments.trial_process import main; main()"


@dataclass
class Trial:
    """One combination, and what became of it; `metrics` by file and dotted key."""

    combination: Combination
    outcome: Outcome | None = None
    summary: str = ""
    error: InkflowError | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`ran`, `restored`, `failed`; `not run` where the sweep was ended before."""
        if self.error is not None and not isinstance(self.error, Interrupted):
            return "failed"
        if self.outcome is None:
            return "not run"
        return "ran" if self.outcome is Outcome.RAN else "restored"


class SweepRunner:
    """Runs trials in threads of its own; the project's own folder is not touched."""

    def __init__(
        self,
        root: Path,
        combinations: Sequence[Combination],
        targets: Sequence[str],
        jobs: int | None,
        display: Display,
    ) -> None:
        self.trials = [Trial(combination) for combination in combinations]
        self.crash: BaseException | None = None  # what ended the sweep itself
        self._targets = targets
        self._jobs = jobs or resources.cores()
        self._display = display
        self._experiments = Experiments(root)
        self._started: queue.Queue[StageEvents | None] = queue.Queue()
        self._running: list[subprocess.Popen[str]] = []
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; come back at once."""
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._thread.start()

    def events(self) -> Iterator[StageEvents]:
        """The events of each trial as it starts; ends when all have ended."""
        while (events := self._started.get()) is not None:
            yield events
        if self.crash is not None:
            raise self.crash

    @property
    def summary(self) -> str:
        """The sweep in a few words: `4 combinations: 3 ran, 1 restored`."""
        states = [trial.state for trial in self.trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"{len(states)} combinations: {counts}"

    def interrupt(self) -> None:
        """End all that runs, with all that it started; come back when nothing is left of it."""
        with self._guard:
            self._ended.set()
            for process in self._running:
                process.terminate()  # asked: a trial ends its stages in good order
        self.close()

    def close(self) -> None:
        """Wait for the end of all trials."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        folder = self._experiments.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with only_run_here(folder, self._display.note):
                self._experiments.remove_leftovers()
                with ThreadPoolExecutor(self._jobs, thread_name_prefix="trial") as pool:
                    done = [pool.submit(self._try, number, trial) for number, trial in enumerate(self.trials)]
                for future in done:
                    future.result()
        except BaseException as error:  # noqa: BLE001 - raised again where somebody watches
            self.crash = error
        finally:
            self._started.put(None)

    def _try(self, number: int, trial: Trial) -> None:
        """One trial, with its result in `trial` and in its events."""
        name = trial.combination.name
        events = StageEvents(Stage(name))
        self._started.put(events)
        try:
            if self._ended.is_set():
                raise Interrupted(name)
            with self._experiments.clone(f"trial-{number}") as project:
                self._run_in(project, trial, events)
                self._experiments.collect(project, trial.combination.experiment)
        except InkflowError as error:
            trial.error = error
            events.end(error)
            self._display.failure(name, str(error))
        except BaseException as error:
            events.end(InkflowError(f"{name}: a fault of the sweep: {error!r}"))
            raise
        else:
            result = Result(name, trial.outcome or Outcome.UNCHANGED, (trial.summary,))
            events.end(result)
            self._display.result(result)

    def _run_in(self, project: Path, trial: Trial, events: StageEvents) -> None:
        """Run the trial as a process in its clone, and take what it tells.

        Raises:
            InkflowError: it failed.
        """
        name = trial.combination.name
        with self._guard:
            if self._ended.is_set():
                raise Interrupted(name)
            process = subprocess.Popen(
                tied_to_us([sys.executable, "-P", "-c", PROGRAM, str(CODE)]),
                cwd=project,
                env=os.environ | {MARK: mark(project)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            self._running.append(process)
        with process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(self._order(trial).to_json())
            process.stdin.close()
            last = [self._hear(text, trial, events) for text in process.stdout][-KEPT_LINES:]
        self._running.remove(process)
        if trial.outcome is None:
            died = Interrupted(name) if self._ended.is_set() else StageFailed(name, process.returncode, last)
            raise trial.error or died

    def _order(self, trial: Trial) -> TrialOrder:
        combination, slots = trial.combination, str(self._experiments.folder.resolve() / "sharing")
        settings, targets, gpus = combination.settings, tuple(self._targets), tuple(resources.gpus())
        return TrialOrder(combination.name, settings, combination.experiment, targets, slots, self._jobs, gpus)

    def _hear(self, text: str, trial: Trial, events: StageEvents) -> str:
        """Take one line that a trial printed, an event or what a library said; the words of it."""
        try:
            kind, what = json.loads(text)
        except ValueError:
            kind, what = "result", text.rstrip("\n")
        if kind == "done":
            trial.outcome, trial.summary = Outcome(what["outcome"]), what["summary"]
            trial.metrics = what["metrics"]
        elif kind == "failed":
            trial.error = InkflowError(what)
        elif kind == "ended":
            trial.error = Interrupted(trial.combination.name)
        else:
            events.line(what)
            if kind == "line":
                self._display.line(trial.combination.name, what)
        return str(what)
