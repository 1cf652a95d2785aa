"""The flow of scheduled runs: the pipeline with the results of DVC's remote, and its own results pushed there."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.core.file_lock import only_run_here
from flows.core.params_edit import apply_settings
from flows.engine.run import Options, Run
from flows.pipeline import NAME, run_stages
from flows.tasks.failure_state import failed
from flows.tasks.remote_sync import pull_run_cache, push_results
from flows.workers.local_engine import start_engine
from stages.base.errors import InkflowError


@flow(name=NAME, persist_result=False)
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
    """Bring the stages up to date, then push the results: what is unchanged or cached, here or there, is not run.

    Args:
        targets: stages to bring up to date with all that they need, for example `train@cnn`; all when empty.
        settings: parameters to change in params.yaml, for example `{"models.dense.epochs": 3}`.
        dataset: the data set to use, one of `datasets` in params.yaml.
        fallback: the data set to use when the chosen one cannot be reached.
        force: run the stages even when nothing changed.
        jobs: how many stages may run at the same time; as many as there are cores when empty.
        keep_going: after a failure, run what does not depend on it.
        push: push outputs and run cache to DVC's default remote; without a remote nothing is pushed.
    """
    edits = (settings or {}) | ({"dataset": dataset} if dataset else {})
    options = Options(jobs, force, keep_going, pull=pull_run_cache())
    state = run_with_settings(edits, Run(targets or [], options, fallback=fallback))
    return push_results(state) if push else state


def run_with_settings(settings: dict[str, Any], run: Run) -> State[Any]:
    """Edit params.yaml and do `run`, inside a flow; the flow's final state."""
    try:
        with only_run_here(Path(), run.display.note):
            run.params = apply_settings(settings, Path())
            return run_stages(start_engine(run))
    except InkflowError as error:
        return failed(error)
