"""Creates and follows the engine of a run on this machine; it sends stages to work pools if their policies name one."""

import functools
from collections.abc import Callable
from pathlib import Path

from flows.core.errors import Interrupted, StageFailed
from flows.core.gates import enforce_gates
from flows.core.notices import fallback_notice, stand_in_notice
from flows.core.params_edit import apply_settings
from flows.dvc_repo.repository import Repository
from flows.engine import resources
from flows.engine.engine import Engine
from flows.engine.policy import load_policies
from flows.engine.run import GATES, RUN_ITSELF, Run
from flows.engine.shared_slots import SHARING, SharedSlots
from flows.workers.pool_stages import NoDispatcher, PoolStages
from stages.base.errors import EXIT_UNAVAILABLE, InkflowError

REPORT = "report"  # the stage whose outputs are published and whose gates are checked


def make_engine(repository: Repository, run: Run) -> Engine:
    """Return an engine for `run` on the stages of `repository`.

    Raises:
        PolicyInvalid: execution.yaml has mistakes.
    """
    policies = repository.policies or load_policies(Path(repository.root))
    jobs, memory = run.options.jobs or resources.cores(), policies.resources.total_memory()
    shared = SharedSlots(
        run.sharing or repository.root / SHARING,
        jobs,
        resources.gpus(),
        memory,
        spans_clones=run.sharing is not None,
    )
    return Engine(repository, policies, run, PoolStages(repository, policies), shared)


def start_engine(run: Run) -> Engine:
    """Start an engine on the targets of `run`, in the project of the current folder, and return it.

    Raises:
        PipelineInvalid, PolicyInvalid, UnknownStage: before any stage starts.
    """
    policies = load_policies(Path())
    repository = Repository(pull=run.options.pull, policies=policies.without_pools() if run.options.local else policies)
    engine = make_engine(repository, run)
    engine.start(repository.stages(run.targets, run.options.scope))
    return engine


def complete_run(
    engine: Engine,
    follow: Callable[[Engine], None],
    finish: Callable[[], object],
    notice: Callable[[str], None],
    *,
    edit: bool = True,
) -> None:
    """Follow the stages of a started `engine` until they have ended; errors are added to its run.

    If the chosen data set is unavailable and the run has a fallback, the stages run once more with the fallback.

    Args:
        engine: the started engine.
        follow: waits until the stages of an engine have ended, and closes it.
        finish: called if the report is up to date: checks the gates.
        notice: shows a notice to the user.
        edit: write the fallback into params.yaml; if False, the caller runs the stages once more.
    """
    run = engine.run
    try:
        follow(engine)
        if edit and needs_fallback(run):
            start_fallback(run, notice)
            run.params = apply_settings({"dataset": run.fallback}, Path())
            follow(start_engine(run))
        if run.params and not run.errors and any(result.stage == REPORT for result in run.results):
            finish()
    except InkflowError as error:
        run.errors[RUN_ITSELF] = error
    run.has_ended = True


def needs_fallback(run: Run) -> bool:
    """Return True if the data set of `run` is unavailable, and the run has another one as its fallback."""
    return bool(run.params and run.fallback not in (None, run.params.dataset)) and _is_unavailable(run)


def start_fallback(run: Run, notice: Callable[[str], None]) -> None:
    """Show that the fallback of `run` replaces its data set, and remove the results and errors of the first pass."""
    assert run.params is not None and run.fallback is not None
    notice(fallback_notice(run.params.dataset, run.fallback, in_clone=run.in_clone))
    run.reset()


def complete_without_server(engine: Engine, pools: NoDispatcher) -> None:
    """Follow the stages of a started `engine` until they have ended, without Prefect; errors are added to its run.

    Args:
        engine: the started engine.
        pools: refuses the stages of work pools, with the reason.
    """
    check = functools.partial(check_gates, engine.run)
    complete_run(engine, functools.partial(_follow, pools=pools), check, engine.run.display.notice)


def check_gates(run: Run) -> str | InkflowError:
    """Check the quality gates of the report, and return their summary, or the error, which is added to `run`."""
    try:
        summary = enforce_gates(Path())
    except InkflowError as error:
        run.errors[GATES] = error
        run.display.failure(GATES, str(error))
        return error
    run.display.note(summary)
    return summary


def _follow(engine: Engine, pools: NoDispatcher) -> None:
    run = engine.run
    notice = stand_in_notice(run.params)
    if notice:
        run.display.notice(notice)
    try:
        engine.connect_pools(pools)
        for _ in engine.events():
            pass
    except KeyboardInterrupt:
        engine.interrupt()
        run.errors.setdefault(RUN_ITSELF, Interrupted("the run"))
    finally:
        engine.close()
    if notice and not run.errors:
        run.display.notice(notice)


def _is_unavailable(run: Run) -> bool:
    """Return True if a stage failed because the source of its data is unavailable."""
    failures = (error for error in run.errors.values() if isinstance(error, StageFailed))
    return any(error.code == EXIT_UNAVAILABLE for error in failures)
