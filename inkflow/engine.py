"""The engine for Python programs: plans and runs the stages of a DVC project.

Only the names in `__all__` are stable: they change with a new minor version at most, and CHANGELOG.md says how. A run
works as `inkflow run --no-server` does: same cache, same dvc.lock, same quality gates, no Prefect.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from flows.core.errors import UnknownStage
from flows.core.file_lock import run_lock
from flows.core.own_data import check_own_data
from flows.core.params_edit import edit_params, load_project_params, written_params
from flows.core.project import enter_project
from flows.core.redaction import mask
from flows.dvc_repo.recovery import recover
from flows.dvc_repo.repository import Repository
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display
from flows.engine.planning.plan import Decision, Verdict, plan
from flows.engine.policy import load_policies
from flows.engine.run import Options, Run
from flows.engine.types import Outcome, Result
from flows.workers.local_engine import complete_without_server, make_engine
from flows.workers.pool_stages import NoDispatcher
from stages.base.errors import InkflowError, InvalidInput

__all__ = [
    "Decision", "Event", "InkflowError", "InvalidInput", "Kind", "Outcome", "Project", "Result", "RunResult",
    "UnknownStage", "Verdict",
]  # fmt: skip
WITHOUT_POOLS = NoDispatcher("a run from Python uses no Prefect server", "use `inkflow run` with PREFECT_API_URL")


class Kind(StrEnum):
    """What an event is about."""

    STARTED = "started"  # a stage started
    LINE = "line"  # a stage printed a line
    RESULT = "result"  # a stage is up to date
    FAILURE = "failure"  # a stage failed
    NOT_RUN = "not run"  # a stage does not run, since another one failed
    NOTE = "note"  # a line about the run itself


@dataclass(frozen=True)
class Event:
    """An event of a run.

    Attributes:
        kind: what the event is about.
        stage: name of the stage; empty for a note.
        text: the line, the message, or of a stage that does not run the cause, as in `RunResult.not_run`, with secrets
            masked; empty for a start.
        result: the result of a stage that is up to date.
    """

    kind: Kind
    stage: str = ""
    text: str = ""
    result: Result | None = None


@dataclass(frozen=True)
class RunResult:
    """A run whose stages have all ended.

    Attributes:
        results: the results of the stages that are up to date, in the order in which they ended.
        errors: errors by stage, the first one first; `gates` for failed quality gates, `run` for one of no stage.
        not_run: causes, by name of the stages that did not run because of a failure.
        summary: the counts in one line: `3 of 16 stages ran, 2 restored, 1 failed: train@cnn`.
    """

    results: Sequence[Result]
    errors: Mapping[str, InkflowError]
    not_run: Mapping[str, str]
    summary: str

    @property
    def ran(self) -> list[str]:
        """The names of the stages that ran, not restored ones."""
        return [result.stage for result in self.results if result.outcome is Outcome.RAN]

    @property
    def error(self) -> InkflowError | None:
        """The first error; None if there is none."""
        return next(iter(self.errors.values()), None)


class Project:
    """A DVC project, whose stages can be planned and run. Holds no file open between its methods.

    The methods change the working directory of this process to the project's folder while they work: call them from one
    thread at a time.
    """

    def __init__(self, folder: Path | str = ".") -> None:
        """Finds the project that contains `folder`.

        Raises:
            InvalidInput: the folder does not exist, or is in no DVC project.
        """
        if not Path(folder).is_dir():
            raise InvalidInput(f"{folder} is no folder, expected one in a DVC project; give the project's folder")
        self.root = Path(folder).resolve()
        with self._inside():
            self.root = Path.cwd()

    def plan(self, *targets: str, force: bool = False) -> list[Decision]:
        """Returns what `run` would do with each stage, and why. Runs nothing.

        Args:
            targets: stages, with those that they depend on; all stages by default.
            force: plan for `run(force=True)`.

        Raises:
            InkflowError: a file of the project has mistakes, or a stage does not exist.
        """
        with self._inside() as root:
            check_own_data(load_project_params(root), root)
            policies = load_policies(root)
            recover(root)
            with Repository(policies=policies) as repository:
                facts = repository.facts(repository.resolve(targets))
                fixed = [stage.stage.name for stage in facts if policies.of(stage.stage.name).fixed_outputs]
                return plan(facts, repository.cache, force=force, fixed=fixed)

    def run(
        self,
        *targets: str,
        settings: Mapping[str, Any] | None = None,
        on_event: Callable[[Event], object] | None = None,
        check: bool = True,
        jobs: int | None = None,
        force: bool = False,
        keep_going: bool = False,
        pull: bool = False,
    ) -> RunResult:
        """Brings stages up to date, and returns their results when all have ended. Ctrl-C interrupts it.

        Args:
            targets: stages, with those that they depend on; all stages by default.
            settings: values for dotted keys of params.yaml, which is edited first: `{"models.dense.epochs": 3}`.
            on_event: called with each event, in a thread of the run, one event at a time. If it raises, it is not
                called again, and the exception is raised at the end of the run.
            check: raise the first error; otherwise all errors are in `errors` of the result.
            jobs: number of stages at a time; None for one per core.
            force: run the stages even if nothing changed.
            keep_going: after a failure, run the stages that do not depend on the failed one.
            pull: restore outputs from the DVC remote too.

        Raises:
            InkflowError: a file of the project or a setting has mistakes, and params.yaml is as before; or a stage or a
                quality gate failed.
        """
        if jobs is not None and jobs < 1:
            raise InvalidInput(f"jobs: got {jobs}, expected a number of at least 1, or None for one per core")
        display = _EventDisplay(on_event or (lambda _: None))
        with self._inside() as root, run_lock(root, display.note, shared=not settings):
            recover(root)
            edit = edit_params(settings or {}, root)
            check_own_data(edit.params, root)
            with written_params(edit, root):
                options = Options(jobs, force, keep_going, pull=pull)
                run = Run(targets, options, params=edit.params)
                _complete(run, display)
        if check and run.error is not None:
            raise run.error
        return RunResult(tuple(run.results), dict(run.errors), dict(run.not_run), run.summary)

    def metrics(self) -> dict[str, Any]:
        """Returns the content of the project's metrics files, by path."""
        with self._inside(), Repository() as repository:
            return repository.metrics()

    @contextmanager
    def _inside(self) -> Iterator[Path]:
        """Works in the project's folder; returns its path, as the engine's rooms expect it."""
        with chdir(self.root):
            enter_project()
            yield Path()


class _EventDisplay(Display):
    """Passes the events of a run to a function, until that fails."""

    def __init__(self, on_event: Callable[[Event], object]) -> None:
        super().__init__()
        self._on_event = on_event
        self.causes: Mapping[str, str] = {}  # of the run, by stage that does not run
        self.error: BaseException | None = None

    def started(self, stage: str, expected_s: float | None) -> None:
        self._put(Kind.STARTED, stage)

    def print_lines(self, lines: Iterable[tuple[str, str]]) -> None:
        for stage, text in lines:
            self._put(Kind.LINE, stage, text)

    def result(self, result: Result) -> None:
        self._put(Kind.RESULT, result.stage, result.message, result)

    def failure(self, stage: str, message: str) -> None:
        self._put(Kind.FAILURE, stage, message)

    def not_run(self, stage: str, message: str) -> None:
        self._put(Kind.NOT_RUN, stage, self.causes.get(stage, message))

    def note(self, text: str) -> None:
        self._put(Kind.NOTE, "", text)

    def notice(self, text: str) -> None:
        self._put(Kind.NOTE, "", text)

    def _put(self, kind: Kind, stage: str, text: str = "", result: Result | None = None) -> None:
        if self.error is not None:
            return
        try:
            self._on_event(Event(kind, stage, mask(text), result))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread, at the end of the run
            self.error = error


def _complete(run: Run, display: _EventDisplay) -> None:
    """Runs the stages of `run` in the current folder; raises the exception of the function for events, if any."""
    repository = Repository(pull=run.options.pull, policies=load_policies(Path()))
    try:
        run.targets = repository.resolve(run.targets)
        stages = repository.stages(run.targets)
        run.display, display.causes = BufferedDisplay(display), run.not_run
        engine = make_engine(repository, run)
    except BaseException:
        run.display.close()
        repository.close()
        raise
    try:
        engine.start(stages)
        complete_without_server(engine, WITHOUT_POOLS)
    except BaseException:
        engine.interrupt()
        engine.close()
        raise
    finally:
        run.display.close()
    if display.error is not None:
        raise display.error
