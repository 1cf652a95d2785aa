"""Runs a sweep over combinations of parameters as a Prefect flow, with a task run for each combination."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed, Failed

from flows.core.signals import ignore_termination, raise_keyboard_interrupt
from flows.engine.display.plain import SilentDisplay
from flows.engine.policy import StagePolicy
from flows.experiments.grid import Combination, check_combinations, parameter_keys
from flows.experiments.sweep_runner import SweepRunner
from flows.experiments.trials import GridTrials
from flows.pipeline import run_flow
from flows.prefect_server.server_check import configured_url
from flows.status.renewal import renews_status
from flows.tasks.artifacts import publish_search, publishing
from flows.tasks.cancellation import watch_for_cancellation
from flows.tasks.own_settings import own_flow
from flows.tasks.run_name import name_run
from flows.tasks.stage_task import submit_stage

NAME = "sweep"


@own_flow(NAME)
@renews_status
def sweep(combinations: list[dict[str, Any]], targets: list[str] | None = None, jobs: int | None = None) -> State[Any]:
    """Run combinations of parameters in parallel, and record each as a DVC experiment.

    Args:
        combinations: parameters to set together, for example `[{"models.dense.epochs": 3}]`.
        targets: stages to bring up to date with everything they need, for example `train@cnn`; all if empty.
        jobs: maximum number of stages that run at the same time; the number of cores if empty.
    """
    trials = [Combination(settings) for settings in combinations]
    check_combinations(trials, Path())
    runner = SweepRunner(Path(), GridTrials(trials, parameter_keys(Path())), targets or [], jobs, SilentDisplay())
    runner.server = configured_url()
    return run_trials(runner)


def sweep_as_flow(runner: SweepRunner, arguments: dict[str, Any]) -> None:
    """Run the trials of `runner` as a run of the flow; `arguments` are shown as its parameters."""
    run_flow(NAME, lambda: run_trials(runner), arguments, runner.display)


def run_trials(runner: SweepRunner) -> State[Any]:
    """Run the trials of `runner` with a task each, inside a flow, and return the flow's final state."""
    runner.start()
    name_run(NAME, runner.summary)
    futures: list[PrefectFuture[State[Any]]] = []
    try:
        with watch_for_cancellation(runner.interrupt):
            for events in runner.events():
                futures.append(submit_stage(events, StagePolicy()))
    except KeyboardInterrupt:
        ignore_termination()  # Prefect's own handler would raise too
        runner.interrupt()
        raise_keyboard_interrupt()
    except BaseException:
        runner.interrupt()
        raise
    wait(futures)
    with publishing("the search is", get_run_logger().warning):
        publish_search(runner.source.report())
    name_run(NAME, runner.summary)
    if runner.is_interrupted:
        return Cancelled(message=runner.summary)
    is_failed = any(trial.is_failure for trial in runner.trials)
    return Failed(message=runner.summary) if is_failed else Completed(message=runner.summary)
