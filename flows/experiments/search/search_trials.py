"""The trials of a search: asks the study for parameters, watches the live history, tells the study the score."""

import math
import platform
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from flows.core.errors import Interrupted, Pruned
from flows.core.redaction import mask
from flows.core.values import counted
from flows.engine.types import Outcome
from flows.experiments.grid import Combination
from flows.experiments.search.objective import Objective, read_history
from flows.experiments.search.report import write_report
from flows.experiments.search.study import EXPERIMENT, FAILURE, MESSAGE, PLACE, Study
from flows.experiments.trial_errors import TrialsFailed, is_machine_fault
from flows.experiments.trials import Trial
from stages.base.errors import InkflowError, InvalidInput, OutputError

POLL_S = 0.2  # of the live history, and of trials that are waited for
MAX_FAILED = 10  # trials in a row, after which a search ends: the parameters are hardly the cause
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class SearchTrial(Trial):
    """A trial of a search, with its number and its trial of the study."""

    number: int
    proposal: Any
    value: float | None = None

    @property
    def name(self) -> str:
        """`12: learning_rate=0.001,units=64`."""
        return f"{self.number}: {self.experiment}"


class SearchTrials:
    """Proposes trials until the study has enough, or the time is over."""

    noun = "trials"

    def __init__(
        self,
        study: Study,
        objective: Objective,
        keys: Collection[str],
        root: Path,
        *,
        count: int,
        parallel: int,
        timeout_s: float | None,
        prune: bool,
        reports: Path,
    ) -> None:
        """Creates the source.

        Args:
            study: the study.
            objective: the score.
            keys: keys of all parameters, for the names of the experiments.
            root: the project.
            count: number of trials of the whole study.
            parallel: number of trials that may run at the same time.
            timeout_s: no trial starts later than this after the first one may; None without a limit.
            prune: end trials early.
            reports: folder of the report.
        """
        self.study, self.objective, self.parallel = study, objective, parallel
        self.trials: list[Trial] = []
        self.failure: InkflowError | None = None
        self._keys, self._count, self._prune, self._reports = keys, count, prune, reports
        self._place = f"{platform.node()}:{root.resolve()}"
        self._timeout_s, self._deadline = math.inf if timeout_s is None else timeout_s, math.inf
        self._stop_event = threading.Event()
        self._lock = threading.Lock()
        self._end_lock = threading.Lock()
        self._failed: list[SearchTrial] = []  # which the study does not know yet
        self._in_a_row = 0  # trials that failed since the last one that did not
        self._running: set[int] = set()  # numbers of trials
        self._begun_before: set[int] = set()  # those that ran when the first one of the row failed
        self._report: Path | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether the search was interrupted, between two trials too."""
        return self._stop_event.is_set()

    def begin(self) -> None:
        """Starts the time of the search: the wait for another sweep does not count."""
        self._deadline = time.monotonic() + self._timeout_s

    def next(self) -> Trial | None:
        """Returns the next trial; a known combination costs nothing: it gets the score of before."""
        while not self._is_over():
            if self._waits():
                self._stop_event.wait(POLL_S)
                continue
            with self._lock:  # one after another, so that each proposal knows the trials before it
                proposal = self.study.claim(self._count)
            if proposal is None:
                self._check_scores()
                break
            settings = self.study.settings(proposal)
            combination = Combination(settings)
            trial = SearchTrial(combination, combination.experiment(self._keys))
            trial.number, trial.proposal = proposal.number, proposal
            self.trials.append(trial)
            known = self.study.known(settings)
            if known is None:
                with self._end_lock:
                    self._running.add(trial.number)
                return trial
            trial.outcome, trial.experiment = Outcome.RESTORED, known.user_attrs[EXPERIMENT]
            attributes = {EXPERIMENT: trial.experiment, PLACE: known.user_attrs[PLACE]}
            message = f"the parameters of trial {known.number}"
            self.study.tell(proposal, TrialState.COMPLETE, known.value, attributes | {MESSAGE: message})
        with self._end_lock:
            self._tell_failed()
        return None

    @contextmanager
    def watch(self, trial: Trial, project: Path, end: Callable[[], None]) -> Iterator[None]:
        """Reports each new row of the live history to the study, and calls `end` if the trial is to be pruned."""
        if not self._prune or self.objective.history is None:
            yield
            return
        assert isinstance(trial, SearchTrial)
        done = threading.Event()
        watching = threading.Thread(target=self._try_to_follow, args=[trial, project, end, done], daemon=True)
        watching.start()
        try:
            yield
        finally:
            done.set()
            watching.join()

    def finish(self, trial: Trial, project: Path) -> None:
        """Reads the score of a trial; without the first one the search ends.

        Raises:
            InvalidInput: the objective has no score.
            ScoreNotFinite: the trial failed.
        """
        assert isinstance(trial, SearchTrial)
        try:
            trial.value = self.objective.read(project)
        except InkflowError as error:
            trial.outcome = None
            if isinstance(error, InvalidInput) and not self.study.trials(TrialState.COMPLETE):
                self.failure = error
            raise

    def close(self, trial: Trial) -> None:
        """Tells the study the end of a trial; one that was interrupted stays open for the next process.

        Raises:
            InkflowError: the journal cannot be read or written, which ends the search.
        """
        assert isinstance(trial, SearchTrial)
        with self._end_lock:
            self._running.discard(trial.number)
        try:
            self._tell_end(trial)
        except InkflowError as error:
            self.failure = self.failure or error
            raise

    def _tell_end(self, trial: SearchTrial) -> None:
        place = {PLACE: self._place}
        if trial.error is None:
            attributes = place | {EXPERIMENT: trial.experiment, MESSAGE: trial.summary}
            self.study.tell(trial.proposal, TrialState.COMPLETE, trial.value, attributes)
        elif isinstance(trial.error, Pruned):
            self.study.tell(trial.proposal, TrialState.PRUNED, None, place | {MESSAGE: trial.pruned})
        else:
            if not (isinstance(trial.error, Interrupted) or self._stop_event.is_set()):
                self._close_failed(trial, trial.error)
            return
        with self._end_lock:
            self._in_a_row = 0
            self._tell_failed()

    def _waits(self) -> bool:
        """Returns True after many failures in a row, while a trial runs that began before them."""
        with self._end_lock:
            return self._in_a_row >= MAX_FAILED and not self._begun_before.isdisjoint(self._running)

    def _check_scores(self) -> None:
        """Ends the search with an error if all trials had ended before it began, and none has a score."""
        if not self.trials and self.study.best() is None and len(self.study.trials(*ENDED)) >= self._count:
            self.failure = InvalidInput(
                f"the study {self.study.folder} has had its {counted(self._count, 'trial')}, and none has a score; "
                "raise --trials, or name another --study"
            )

    def _close_failed(self, trial: SearchTrial, error: InkflowError) -> None:
        """Tells the study a failure if a trial of it has a score, or if the trial failed in an earlier process too.

        Other failed trials stay open: the next process runs them again, unless a trial gets a score before. The search
        ends if the parameters are not the cause, or hardly: trials that run since before the first of many failures in
        a row may still get a score.
        """
        with self._end_lock:
            if self.failure is None and is_machine_fault(error):
                self.failure = error
            if self.failure is not None:
                return
            if self._in_a_row == 0:
                self._begun_before = set(self._running)
            self._in_a_row += 1
            if FAILURE in trial.proposal.user_attrs:
                self._tell_failure(trial)
            else:
                self._failed.append(trial)
                self._tell_failed()
                if self._failed:
                    self.study.note(trial.proposal, {FAILURE: str(error)})
            if self._in_a_row >= MAX_FAILED and self._begun_before.isdisjoint(self._running):
                self.failure = TrialsFailed(self._in_a_row, error)

    def _tell_failed(self) -> None:
        """Tells the study the trials that failed, once one of it has ended otherwise; called with `_end_lock` held."""
        if self.failure is not None or self._stop_event.is_set():
            return
        if self._failed and self.study.trials(TrialState.COMPLETE, TrialState.PRUNED):
            for trial in self._failed:
                self._tell_failure(trial)
            self._failed.clear()

    def _tell_failure(self, trial: SearchTrial) -> None:
        attributes = {PLACE: self._place, MESSAGE: str(trial.error)}
        self.study.tell(trial.proposal, TrialState.FAIL, None, attributes)

    def interrupt(self) -> None:
        """Proposes no further trial."""
        self._stop_event.set()

    def report(self) -> Path | None:
        """Writes the report of the study once, and returns its folder; None without a trial that has a score."""
        if self._report is None and self.study.best() is not None:
            self._report = write_report(self.study, self.objective, self._reports, self.errors())
        return self._report

    def errors(self) -> dict[int, str]:
        """Returns the errors of this process's failed trials, masked, by number; the study lacks some of them."""
        trials = [trial for trial in self.trials if isinstance(trial, SearchTrial)]
        return {trial.number: mask(str(trial.error)) for trial in trials if trial.state == "failed"}

    def plan(self) -> str:
        """Returns the sentence with which the search begins."""
        done = len(self.study.trials(*ENDED))
        other = " with other files: its earlier scores are theirs" if self.study.has_other_base else ""
        begun = f"; the study has {done} of them{other}" if done else ""
        return f"{counted(self._count, 'trial')} of the study {self.study.folder}{begun}"

    def best_line(self) -> str:
        """Returns the sentence that says which trial is the best, and how to apply it."""
        best = self.study.best()
        if best is None:
            return "no trial has a score yet"
        name, place = best.user_attrs[EXPERIMENT], best.user_attrs[PLACE]
        where = "" if place == self._place else f" in {place}"
        return f"best: trial {best.number}, {self.objective.name} {best.value:.6g}\ndvc exp apply {name}{where}"

    def _is_over(self) -> bool:
        is_late = time.monotonic() > self._deadline
        return self._stop_event.is_set() or is_late or self.failure is not None

    def _try_to_follow(self, trial: SearchTrial, project: Path, end: Callable[[], None], done: threading.Event) -> None:
        with suppress(OSError, OutputError):  # of the journal, as on a full disk: the end of the trial reports it
            self._follow(trial, project, end, done)

    def _follow(self, trial: SearchTrial, project: Path, end: Callable[[], None], done: threading.Event) -> None:
        assert self.objective.history is not None
        path, column = project / self.objective.history[0], self.objective.history[1]
        reported = self.study.trials()[trial.number].intermediate_values  # by a process that was killed
        step, modified = 0, 0
        while not done.wait(POLL_S):
            try:
                time_ns = path.stat().st_mtime_ns
            except OSError:
                continue
            if time_ns == modified or self.objective.stage not in trial.running:  # a restored one is not pruned
                continue
            modified = time_ns
            for value in read_history(path, column)[step:]:
                step += 1
                if step not in reported:
                    trial.proposal.report(value, step)
                if trial.proposal.should_prune():
                    trial.pruned = f"after step {step}: {column} {value:.4g}"
                    end()
                    return
