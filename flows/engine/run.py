"""One run: its options, its display, its results. The command creates it and passes it to the engine and the flow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flows.core.errors import Interrupted
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.planning.change_messages import OTHER_RESULT, describe
from flows.engine.types import Outcome, Result, Scope
from stages.base.errors import InkflowError

if TYPE_CHECKING:  # importing the schema takes an eighth of a second, which a project without one saves
    from stages.params.schema import Params

RUN_ITSELF = "run"  # key in Run.errors of an error that belongs to no stage
GATES = "gates"  # key in Run.errors of failed quality gates


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        jobs: number of slots; None for one per core.
        force: run all stages that can run, even unchanged ones.
        keep_going: after a failure, run the stages that do not depend on the failed one.
        local: run no stage in a work pool.
        pull: restore outputs from the DVC remote too.
        scope: the stages that are brought up to date beside the targets.
    """

    jobs: int | None = None
    force: bool = False
    keep_going: bool = False
    local: bool = False
    pull: bool = False
    scope: Scope = Scope.UPSTREAM


@dataclass
class Run:
    """One run.

    Attributes:
        targets: stages to bring up to date, with those in the options' scope; all stages when empty.
        options: the options of the run.
        display: prints the events of the run.
        params: the parameters of the project; None in a project without our schema.
        fallback: name of the data set that replaces the chosen one if that is unavailable.
        in_clone: True in a clone of the project, where parameters hold for this run alone.
        sharing: folder of the slots and mutexes that the run shares with those of another folder; None for its own.
        temporary_server: True if the Prefect server lives as long as the run; such a server has no work pools.
        results: results of the stages that are up to date.
        errors: errors by stage, in the order in which they occurred.
        not_run: causes by name of the stages that did not run because of a failure.
        stopped: those of `not_run` that depend on no failed stage.
        on_reset: called by `reset`.
        has_ended: True once all stages have ended and the gates were checked.
        planned: number of the stages that the engine started with.
    """

    targets: Sequence[str] = ()
    options: Options = Options()
    display: Display = field(default_factory=SilentDisplay)
    params: "Params | None" = None
    fallback: str | None = None
    in_clone: bool = False
    sharing: Path | None = None
    temporary_server: bool = False
    results: list[Result] = field(default_factory=list)
    errors: dict[str, InkflowError] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    on_reset: Callable[[], object] = lambda: None
    has_ended: bool = False
    planned: int = 0

    def reset(self) -> None:
        """Removes all results and errors, for another pass over the stages."""
        self.results.clear()
        self.errors.clear()
        self.not_run.clear()
        self.stopped.clear()
        self.on_reset()

    @property
    def ran(self) -> Sequence[str]:
        """Names of the stages that ran."""
        return [result.stage for result in self.results if result.outcome is Outcome.RAN]

    @property
    def error(self) -> InkflowError | None:
        """The first error; None if there is none."""
        return next(iter(self.errors.values()), None)

    @property
    def is_interrupted(self) -> bool:
        """True if a person or a service ended the run."""
        return any(isinstance(error, Interrupted) for error in self.errors.values())

    @property
    def unended(self) -> int:
        """Number of stages without result and error: of a run that was interrupted and has not waited for them."""
        return max(0, self.planned - len(self.results) - sum(map(len, self._unsuccessful)) - len(self.not_run))

    @property
    def _unsuccessful(self) -> tuple[Sequence[str], Sequence[str]]:
        """The stages that failed, and those that were interrupted."""
        errors = {name: error for name, error in self.errors.items() if name not in (RUN_ITSELF, GATES)}
        interrupted = [name for name, error in errors.items() if isinstance(error, Interrupted)]
        return [name for name in errors if name not in interrupted], interrupted

    @property
    def counts(self) -> str:
        """The counts of the run as a name: `3 ran, 12 unchanged`."""
        outcomes = [result.outcome for result in self.results]
        words = {Outcome.RAN: "ran", Outcome.RESTORED: "restored", Outcome.RECORDED: "recorded"}
        counts = {word: outcomes.count(outcome) for outcome, word in words.items()}
        failed, interrupted = self._unsuccessful
        counts |= {"unchanged": outcomes.count(Outcome.UNCHANGED), "failed": len(failed)}
        counts |= {"interrupted": len(interrupted), "not run": len(self.not_run), "without a result": self.unended}
        parts = [f"{count} {word}" for word, count in counts.items() if count]
        parts += ["gates failed"] if GATES in self.errors else []
        return ", ".join(parts) or "no stage"

    @property
    def summary(self) -> str:
        """The counts of the run in one line: `3 of 16 stages ran, 2 restored, 1 failed: train@cnn`."""
        failed, interrupted = self._unsuccessful
        total = len(self.results) + len(failed) + len(interrupted) + len(self.not_run) + self.unended
        parts = [f"{len(self.ran)} of {total} stages ran" if total else "no stage ran"]
        for outcome, word in ((Outcome.RESTORED, "restored"), (Outcome.RECORDED, "recorded")):
            count = sum(result.outcome is outcome for result in self.results)
            parts += [f"{count} {word}"] if count else []
        others = sum(describe(OTHER_RESULT) in result.reasons for result in self.results)
        parts += [f"{others} with another result than dvc.lock named"] if others else []
        for names, word in ((failed, "failed"), (interrupted, "interrupted")):
            parts += [f"{len(names)} {word}: {', '.join(names)}"] if names else []
        not_run = len(self.not_run) - len(self.stopped)
        parts += [f"{not_run} not run"] if not_run else []
        parts += [f"{len(self.stopped)} stopped (`--keep-going` runs them)"] if self.stopped else []
        parts += [f"{self.unended} without a result"] if self.unended else []
        return ", ".join(parts)
