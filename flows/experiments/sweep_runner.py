"""Runs the trials of a sweep in parallel: each combination in a clone of the project, recorded as a DVC experiment."""

import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from flows.core.code_path import own_command
from flows.core.errors import Interrupted, Pruned, StageFailed
from flows.core.file_lock import run_lock
from flows.core.project import make_state_folder
from flows.core.signals import join, next_item
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.engine import resources
from flows.engine.display.plain import Display
from flows.engine.policy import load_policies
from flows.engine.processes.command_runner import MARK, die_with_parent, mark
from flows.engine.processes.stage_output import POLL_S, TAIL_LINES
from flows.engine.run_record import adopt_records
from flows.engine.shared_slots import SHARING
from flows.engine.stage_events import StageEvents
from flows.engine.types import Outcome, Result, Stage
from flows.experiments.settings import files_of
from flows.experiments.trial_errors import MachineFailed
from flows.experiments.trial_process import TrialOrder, parse_event
from flows.experiments.trials import Trial, TrialSource
from stages.base.errors import InkflowError

END_S = 30.0  # for a trial to terminate its stages


class SweepRunner:
    """Runs trials in threads of its own; the workspace does not change."""

    def __init__(
        self,
        root: Path,
        source: TrialSource,
        targets: Sequence[str],
        jobs: int | None,
        display: Display,
        *,
        local: bool = False,
        clones: ProjectClones | None = None,
    ) -> None:
        """Creates the runner.

        Args:
            root: the project.
            source: decides which trials run.
            targets: stages to bring up to date in each trial; all when empty.
            jobs: slots for the stages of all trials together; the number of cores if None.
            display: prints the events.
            local: run all stages on this machine, whatever their pools.
            clones: makes the clones; of the project as it is now if None.
        """
        self.source = source
        self.crash: BaseException | None = None  # unexpected exception of the sweep itself
        self.server: str | None = None  # API of the Prefect server that has the pools
        self._root = root.resolve()
        self._targets = targets
        self._jobs = jobs or resources.cores()
        self.display = display
        self._pools = not local and load_policies(root).has_pools
        self.clones = clones or ProjectClones(root)
        self._shared_slots = self._root / SHARING
        make_state_folder(root)
        self._environment = dict(os.environ)  # the caller's, before this process adds settings for Prefect
        self._started: queue.Queue[StageEvents | None] = queue.Queue()
        self._running: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()
        self._stop_event = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the trials; return at once."""
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Run the trials, or wait for those that `start` has started; Ctrl-C interrupts them."""
        if self._thread is None:
            self.start()
        try:
            self.close()
        except KeyboardInterrupt:
            self.interrupt()

    def events(self) -> Iterator[StageEvents]:
        """Yield the events of each trial when it starts, until all trials have ended."""
        while (events := next_item(self._started)) is not None:
            yield events
        self._started.put(None)  # for further calls
        if self.crash is not None:
            raise self.crash

    @property
    def trials(self) -> list[Trial]:
        """The trials that have started, and those that are known to follow."""
        return self.source.trials

    @property
    def summary(self) -> str:
        """Number of trials by state: `4 combinations: 3 ran, 1 restored`."""
        states = [trial.state for trial in self.trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"{len(states)} {self.source.noun}{': ' * bool(counts)}{counts}"

    @property
    def is_interrupted(self) -> bool:
        """Whether an interrupt ended the trials, or let none start."""
        return self.source.is_interrupted or any(trial.state == "not run" for trial in self.trials)

    def interrupt(self) -> None:
        """Terminate all trials with their stages; return when no process is left."""
        with self._lock:
            self.source.interrupt()  # first: no trial starts in between
            self._stop_event.set()
            for process in self._running:
                process.terminate()  # not killed: a trial terminates its stages itself
        deadline = time.monotonic() + END_S
        for process in list(self._running):
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()  # its stages die with it
        self.close()

    def close(self) -> None:
        """Wait until all trials have ended."""
        if self._thread is not None:
            join(self._thread)

    def _run(self) -> None:
        folder = self.clones.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with run_lock(folder, self.display.note, stop=self._stop_event) as is_held:
                if is_held:
                    self.source.begin()
                    self.clones.remove_leftovers()
                # Without the lock no trial starts, but each one of a grid gets its state.
                parallel = self.source.parallel or self._jobs
                with ThreadPoolExecutor(parallel, thread_name_prefix="trial") as pool:
                    futures = [pool.submit(self._run_trials, number) for number in range(parallel)]
                for future in futures:
                    future.result()
        except BaseException as error:  # noqa: BLE001 - raised again by `events`
            self.crash = error
        finally:
            self._started.put(None)

    def _run_trials(self, number: int) -> None:
        """Run one trial after another, until the source has none left."""
        while (trial := self.source.next()) is not None:
            self._run_trial(number, trial)

    def _run_trial(self, number: int, trial: Trial) -> None:
        """Run one trial, and put its result into `trial` and its events, which end whatever happens."""
        name = trial.name
        events = StageEvents(Stage(name))
        self._started.put(events)
        try:
            self._run_and_close(number, trial, events)
        except BaseException as error:
            events.put(InkflowError(f"{name}: unexpected error of the sweep: {error!r}"))
            raise
        if trial.error is None:
            result = Result(name, trial.outcome or Outcome.UNCHANGED, (trial.summary,))
            events.put(result)
            self.display.result(result)
            return
        events.put(trial.error)
        if isinstance(trial.error, Pruned):
            self.display.note(f"- {trial.error}")
        else:
            self.display.failure(name, str(trial.error))

    def _run_and_close(self, number: int, trial: Trial, events: StageEvents) -> None:
        """Run one trial and tell the source its end; `trial` has its error, or that of the source."""
        try:
            self._run_in_clone(number, trial, events)
        except InkflowError as error:
            trial.error = error
        try:
            self.source.close(trial)
        except InkflowError as error:
            if not trial.is_failure:
                trial.error = error

    def _run_in_clone(self, number: int, trial: Trial, events: StageEvents) -> None:
        """Run one trial in a clone and keep it as an experiment.

        Raises:
            InkflowError: the trial failed.
        """
        if self._stop_event.is_set():
            raise Interrupted(trial.name)
        with self.clones.clone(f"trial-{number}") as project:
            if self._pools:
                self.clones.copy_origin(project)
            name, fetched = trial.experiment, ""
            try:
                self._run_process(project, trial, events)
                self.source.finish(trial, project)
                files = files_of(trial.combination.settings)
                trial.experiment = fetched = self.clones.fetch_experiment(project, trial.experiment, files)
            finally:
                adopt_records(project, self._root, name, fetched)

    def _run_process(self, project: Path, trial: Trial, events: StageEvents) -> None:
        """Run the trial as a process in its clone, and handle the events that it prints.

        Raises:
            InkflowError: the trial failed.
        """
        name = trial.name
        with self._lock:
            if self._stop_event.is_set():
                raise Interrupted(name)
            process = subprocess.Popen(
                die_with_parent(own_command("flows.experiments.trial_process")),
                cwd=project,
                env=self._environment | {MARK: mark(project)},
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
            lines: deque[str] = deque(maxlen=TAIL_LINES)
            with self.source.watch(trial, project, process.terminate):
                for text in filter(str.strip, process.stdout):
                    lines.append(self._handle_line(text, trial, events))
                    while not (self._stop_event.is_set() or self.display.wait_for_room(POLL_S)):
                        pass
        self._running.remove(process)
        if trial.outcome is None:
            if trial.pruned and not self._stop_event.is_set():
                raise Pruned(name, trial.pruned)
            if self._stop_event.is_set():
                raise trial.error or Interrupted(name)
            raise trial.error or StageFailed(name, process.returncode, list(lines))

    def _order(self, trial: Trial) -> TrialOrder:
        return TrialOrder(
            name=trial.name,
            settings=trial.combination.settings,
            experiment=trial.experiment,
            targets=tuple(self._targets),
            project=str(self._root),
            shared_slots=str(self._shared_slots),
            jobs=self._jobs,
            gpus=tuple(resources.gpus()),
            local=not self._pools,
            server=self.server,
        )

    def _handle_line(self, text: str, trial: Trial, events: StageEvents) -> str:
        """Handle one line that a trial printed, an event or output of a library, and return its content."""
        kind, content = parse_event(text)
        if kind == "done":
            trial.outcome, trial.summary = Outcome(content["outcome"]), content["summary"]
            trial.metrics = content["metrics"]
        elif kind == "failed":
            trial.error = InkflowError(content)
        elif kind == "machine":
            trial.error = MachineFailed(content)
        elif kind == "ended":
            trial.error = Interrupted(trial.name)
        else:
            events.put(content)
            if kind == "line":
                trial.running.add(str(content).partition(" | ")[0])
                self.display.line(trial.name, content)
        return str(content)
