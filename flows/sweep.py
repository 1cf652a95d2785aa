"""A sweep as a Prefect flow: one task run for each combination, with the lines of its stages in its log."""

from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed, Failed

from flows.core.errors import Interrupted
from flows.engine.display.plain import Silence
from flows.engine.policy import StagePolicy
from flows.experiments.grid import Combination, check
from flows.experiments.sweep_runner import Sweep
from flows.pipeline import task_of

# Set by whoever calls the flow in its own process, to see what becomes of it.
prepared: ContextVar[Sweep | None] = ContextVar("prepared", default=None)


@flow(name="sweep", persist_result=False)
def sweep(combinations: list[dict[str, Any]], targets: list[str] | None = None, jobs: int | None = None) -> State[Any]:
    """Try combinations of parameters side by side, and record each as a DVC experiment.

    Args:
        combinations: parameters to set together, for example `[{"models.dense.epochs": 3}]`.
        targets: stages to bring up to date with all that they need, for example `train@cnn`; all when empty.
        jobs: how many stages may run at the same time; as many as there are cores when empty.
    """
    found = [Combination(settings) for settings in combinations]
    check(found, Path())
    engine = prepared.get() or Sweep(Path(), found, targets or [], jobs, Silence())
    engine.start()
    futures: list[PrefectFuture[State[Any]]] = []
    try:
        for watch in engine.watches():
            futures.append(task_of(watch, StagePolicy()).submit())
    except KeyboardInterrupt:
        engine.interrupt()
    except BaseException:
        engine.interrupt()
        raise
    wait(futures)
    return _final_state(engine)


def _final_state(engine: Sweep) -> State[Any]:
    errors = [trial.error for trial in engine.trials if trial.error]
    if any(isinstance(error, Interrupted) for error in errors):
        return Cancelled(message=engine.summary)
    return Failed(message=engine.summary) if errors else Completed(message=engine.summary)
