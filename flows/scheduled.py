"""Runs the pipeline as a deployed flow: pulls DVC's run cache before the stages, and pushes the results afterwards."""

from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from pydantic import Field

from flows.core.file_lock import run_lock
from flows.core.own_data import finish_copies
from flows.core.params_edit import apply_settings, edit_params, load_project_params
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.versions.experiments import ProjectClones, save_experiment
from flows.dvc_repo.versions.own_file import bring_own_data
from flows.dvc_repo.versions.unfinished_work import keep_unfinished_work
from flows.engine.run import GATES, Options, Run
from flows.engine.run_record import kept_records
from flows.engine.shared_slots import SHARING
from flows.experiments.grid import Combination, check_combinations, parameter_keys
from flows.pipeline import NAME, run_stages, show_notice
from flows.status.renewal import renews_status
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.tasks.remote_sync import pull_run_cache, push_results
from flows.workers.local_engine import needs_fallback, start_engine, start_fallback
from stages.base.errors import InkflowError


@own_flow(NAME)
@renews_status
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
        settings: parameters for this run alone, for example `{"models.dense.epochs": 3}`; recorded as an experiment.
        dataset: data set for this run alone, one of `datasets` in params.yaml.
        fallback: data set for this run alone if the chosen one is unavailable.
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
    """Bring the stages of `run` up to date, inside a flow, and return the flow's final state.

    Settings hold for this run alone, since all runs of a deployment share one working tree: with settings that differ
    from params.yaml, and with a fallback data set, the stages run in a clone, and the result is a DVC experiment.
    """
    try:
        if settings and _is_change(settings):
            return _run_in_clone(settings, run)
        with run_lock(Path(), run.display.note, shared=True):
            finish_copies(Path())
            run.params = load_project_params(Path())
            state = run_stages(start_engine(run), edit=False)
        if not needs_fallback(run):
            return state
        run.in_clone = True
        start_fallback(run, lambda notice: show_notice(run, notice))
        return _run_in_clone({"dataset": run.fallback}, run)
    except InkflowError as error:
        return failure_state(error)


def _is_change(settings: dict[str, Any]) -> bool:
    """Return True if `settings` differ from params.yaml.

    Raises:
        InvalidInput: a setting is invalid.
    """
    check_combinations([Combination(settings)], Path())
    return edit_params(settings, Path()).is_change


def _run_in_clone(settings: dict[str, Any], run: Run) -> State[Any]:
    """Run the stages of `run` with `settings` in a clone, and record the result as a DVC experiment of the project.

    Raises:
        InkflowError: the project cannot be cloned.
    """
    root = Path.cwd()
    clones, run.in_clone, run.sharing = ProjectClones(root), True, root / SHARING
    clones.folder.mkdir(parents=True, exist_ok=True)
    with run_lock(clones.folder, run.display.note):
        clones.remove_leftovers()
        with clones.clone("run") as project, kept_records(project, root):
            clones.copy_origin(project)
            keep_unfinished_work(project, root)
            with chdir(project):  # DVC works in the current folder
                run.params = apply_settings(settings, Path())
                bring_own_data(root, Path(), run.params)
                dataset = run.params.dataset if run.params else None
                state = run_stages(start_engine(run))
                if set(run.errors) - {GATES}:
                    return state
                if run.params and run.params.dataset != dataset:  # the fallback, which the name has to tell
                    settings = settings | {"dataset": run.params.dataset}
                name = Combination(settings).experiment(parameter_keys(root))
                with Repository() as repository:
                    outputs = [output for stage in repository.stages(run.targets) for output in stage.outputs]
                save_experiment(name, run.targets, outputs)
            name = clones.fetch_experiment(project, name)
    where = f"the result is the DVC experiment {name} in {root}, `dvc exp apply {name}` copies it into the workspace"
    return state.model_copy(update={"message": f"{state.message}; {where}"})
