"""The pipeline as a Prefect flow: one task run for each stage of DVC's graph, side by side where the graph allows it.

A task ends `Cached` when DVC found the stage unchanged or restored it, `Completed` when it ran, `Failed` with the
stage's own message, `Not run` behind a failure. Prefect's result caching stays off: DVC's cache is the only one,
and it tells the truth.
"""

from contextlib import nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture, wait
from prefect.logging.handlers import APILogWorker
from prefect.states import Cancelled, Completed

from flows.core.errors import Interrupted, StageFailed
from flows.core.file_lock import only_run_here
from flows.core.gates import enforce
from flows.core.notices import fallback_notice, stand_in_notice
from flows.core.params_edit import apply_settings
from flows.core.redaction import mask_logs
from flows.engine.engine import running
from flows.engine.policy import StagePolicy
from flows.engine.run_state import GATES, RUN_ITSELF, Options, Session
from flows.engine.stage_events import Ending, FailedTry, NotRun, Watch
from flows.engine.types import Outcome, Result
from flows.prefect_server.server import named
from flows.tasks.artifacts import publish
from flows.tasks.failure_state import failed
from flows.tasks.progress_artifact import ProgressArtifact
from flows.workers.dispatch import Dispatch
from stages.base.errors import EXIT_UNAVAILABLE, InkflowError
from stages.params.schema import Params

DELIVERY_S = 10.0
REPORT = "report"  # the stage after which there is something to show and to judge

mask_logs()

# Set by whoever calls the flow in its own process; a worker's run has a session that nobody watches.
session: ContextVar[Session | None] = ContextVar("session", default=None)


@flow(name="inkflow", persist_result=False)
def pipeline(
    targets: list[str] | None = None,
    settings: dict[str, Any] | None = None,
    dataset: str | None = None,
    fallback: str | None = None,
    force: bool = False,
    jobs: int | None = None,
    keep_going: bool = False,
    local: bool = False,
    pulls: bool = False,
) -> State[Any]:
    """Bring the stages up to date: what is unchanged or cached is not run.

    Args:
        targets: stages to bring up to date with all that they need, for example `train@cnn`; all when empty.
        settings: parameters to change in params.yaml, for example `{"models.dense.epochs": 3}`.
        dataset: the data set to use, one of `datasets` in params.yaml.
        fallback: the data set to use when the chosen one cannot be reached.
        force: run the stages even when nothing changed.
        jobs: how many stages may run at the same time; as many as there are cores when empty.
        keep_going: after a failure, run what does not depend on it.
        local: run every stage where the flow runs, whatever its pool.
        pulls: restore also what the DVC remote has and the cache here has not.
    """
    run = session.get() or Session()
    options = Options(jobs, force, keep_going, local, pulls)
    edits = (settings or {}) | ({"dataset": dataset} if dataset else {})
    try:
        with nullcontext() if run.early else only_run_here(Path(), run.display.note):
            params = _run_once(run, edits, targets or [], options)
            unavailable = _unavailable(run)
            if unavailable and params and fallback not in (None, params.dataset):
                _say(run, fallback_notice(params.dataset, str(fallback)))
                run.begin_anew()
                _run_once(run, {"dataset": fallback}, targets or [], options)
            if params and not run.errors and any(result.stage == REPORT for result in run.results):
                publish(Path())
                _task_of_gates(run)(return_state=True)
    except InkflowError as error:
        run.errors[RUN_ITSELF] = error
    return _final_state(run)


def _run_once(run: Session, edits: dict[str, Any], targets: list[str], options: Options) -> Params | None:
    """Edit params.yaml and run one task a stage; errors are in `run` afterwards."""
    params = apply_settings(edits, Path())
    notice = stand_in_notice(params)
    if notice:
        _say(run, notice)
    futures: list[PrefectFuture[State[Any]]] = []
    with running(run, targets, options) as engine:
        if not run.carrier.done():
            server = None if run.temporary_server else named()
            run.carrier.set_result(Dispatch(engine.policies.workers, server))
        try:
            for watch in engine.watches():
                futures.append(task_of(watch, engine.policies.of(watch.stage.name)).submit())
        except KeyboardInterrupt:
            engine.interrupt()
            run.errors.setdefault(RUN_ITSELF, Interrupted("the run"))
    wait(futures)
    if notice and not run.errors:
        _say(run, notice)
    return params


def task_of(watch: Watch, policy: StagePolicy) -> Task[[], State[Any]]:
    """What a watch shows, as a Prefect task of the stage's name."""
    name = watch.stage.name
    tries: list[Ending] = []

    def body() -> State[Any]:
        logger = get_run_logger()
        progress = ProgressArtifact(name, logger.warning)

        def hear(text: str) -> None:
            logger.info(text)
            progress.hear(text)

        tries.append(watch.follow(hear))
        if isinstance(tries[-1], Result):
            progress.close()
        return _state(tries[-1])

    return Task(
        fn=body,
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=policy.retries,
        retry_condition_fn=lambda *_: isinstance(tries[-1], FailedTry),
    )


def _state(ending: Ending) -> State[Any]:
    if isinstance(ending, NotRun):
        return Cancelled(name="Not run", message=f"not run, since {ending.cause}")
    if isinstance(ending, Result):
        name = "Completed" if ending.outcome is Outcome.RAN else "Cached"
        return Completed(name=name, message=ending.sentence)
    return failed(ending.error if isinstance(ending, FailedTry) else ending)


def _task_of_gates(run: Session) -> Task[[], State[Any]]:
    """The last step: whether each model reached what params.yaml asks of it."""

    def body() -> State[Any]:
        try:
            said = enforce(Path())
        except InkflowError as error:
            run.errors[GATES] = error
            run.display.failure(GATES, str(error))
            return failed(error)
        run.display.note(said)
        return Completed(message=said)

    return Task(fn=body, name=GATES, task_run_name=GATES, cache_policy=NO_CACHE, persist_result=False)


def _final_state(run: Session) -> State[Any]:
    return Completed(message=run.summary) if run.error is None else failed(run.error)


def _unavailable(run: Session) -> StageFailed | None:
    """The failure of a stage whose data cannot be had now."""
    failures = [error for error in run.errors.values() if isinstance(error, StageFailed)]
    return next((error for error in failures if error.code == EXIT_UNAVAILABLE), None)


def _say(run: Session, notice: str) -> None:
    get_run_logger().warning(notice)
    run.display.notice(notice)


def deliver() -> None:
    """See that what Prefect still has to say reaches its server: a temporary one ends right after the run."""
    APILogWorker.drain_all(timeout=DELIVERY_S)
    EventsWorker.drain_all(timeout=DELIVERY_S)
