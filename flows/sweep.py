"""A sweep as a Prefect flow: one task run for each combination, with the lines of its stages in its log."""

from pathlib import Path
from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed, Failed

from flows.core.errors import Interrupted
from flows.engine.display.plain import SilentDisplay
from flows.engine.policy import StagePolicy
from flows.experiments.grid import Combination, check
from flows.experiments.sweep_runner import SweepRunner
from flows.pipeline import deliver
from flows.tasks.stage_task import stage_task

NAME = "sweep"


@flow(name=NAME, persist_result=False)
def sweep(combinations: list[dict[str, Any]], targets: list[str] | None = None, jobs: int | None = None) -> State[Any]:
    """Try combinations of parameters side by side, and record each as a DVC experiment.

    Args:
        combinations: parameters to set together, for example `[{"models.dense.epochs": 3}]`.
        targets: stages to bring up to date with all that they need, for example `train@cnn`; all when empty.
        jobs: how many stages may run at the same time; as many as there are cores when empty.
    """
    chosen = [Combination(settings) for settings in combinations]
    check(chosen, Path())
    return run_trials(SweepRunner(Path(), chosen, targets or [], jobs, SilentDisplay()))


def sweep_as_flow(runner: SweepRunner, arguments: dict[str, Any]) -> None:
    """Run the trials of `runner` as a run of the flow, with these `arguments`."""

    def body(arguments: dict[str, Any]) -> State[Any]:
        return run_trials(runner)

    Flow(fn=body, name=NAME, persist_result=False)(arguments, return_state=True)
    deliver()


def run_trials(runner: SweepRunner) -> State[Any]:
    """Run the trials of `runner` with a task each, inside a flow; the flow's final state."""
    runner.start()
    futures: list[PrefectFuture[State[Any]]] = []
    try:
        for events in runner.events():
            futures.append(stage_task(events, StagePolicy()).submit())
    except KeyboardInterrupt:
        runner.interrupt()
    except BaseException:
        runner.interrupt()
        raise
    wait(futures)
    errors = [trial.error for trial in runner.trials if trial.error]
    if any(isinstance(error, Interrupted) for error in errors):
        return Cancelled(message=runner.summary)
    return Failed(message=runner.summary) if errors else Completed(message=runner.summary)
