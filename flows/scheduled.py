"""Runs the pipeline as a deployed flow: pulls DVC's run cache before the stages, and pushes the results afterwards."""

from pathlib import Path
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from pydantic import Field

from flows.core.file_lock import run_lock
from flows.core.params_edit import apply_settings
from flows.engine.run import Options, Run
from flows.pipeline import NAME, run_stages
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.tasks.remote_sync import pull_run_cache, push_results
from flows.workers.local_engine import start_engine
from stages.base.errors import InkflowError


@own_flow(NAME)
def scheduled(
    targets: list[str] | None = None,
    settings: dict[str, Any] | None = None,
    dataset: str | None = None,
    fallback: str | None = None,
    force: bool = False,
    jobs: Annotated[int, Field(ge=1)] | None = None,
    keep_going: bool = False,
    push: bool = True,
) -> State[Any]:
    """Bring the stages up to date and push the results; unchanged and cached stages do not run.

    Args:
        targets: stages to bring up to date with everything they need, for example `train@cnn`; all if empty.
        settings: parameters to change in params.yaml, for example `{"models.dense.epochs": 3}`.
        dataset: data set to use, one of `datasets` in params.yaml.
        fallback: data set to use if the chosen one is unavailable.
        force: run the stages even if nothing changed.
        jobs: maximum number of stages that run at the same time; the number of cores if empty.
        keep_going: after a failure, run the stages that do not depend on the failed one.
        push: push outputs and run cache to DVC's default remote, if there is one.
    """
    edits = (settings or {}) | ({"dataset": dataset} if dataset else {})
    options = Options(jobs, force, keep_going, pull=pull_run_cache())
    state = run_with_settings(edits, Run(targets or [], options, fallback=fallback))
    return push_results(state) if push else state


def run_with_settings(settings: dict[str, Any], run: Run) -> State[Any]:
    """Write `settings` into params.yaml and run the stages of `run`, inside a flow; return the flow's final state."""
    try:
        with run_lock(Path(), run.display.note):
            run.params = apply_settings(settings, Path())
            return run_stages(start_engine(run))
    except InkflowError as error:
        return failure_state(error)
