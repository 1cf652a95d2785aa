"""Creates the engine of a run on this machine; it sends stages to work pools if their policies name one."""

from pathlib import Path

from flows.dvc_repo.repository import Repository
from flows.engine.engine import Engine
from flows.engine.policy import load_policies
from flows.engine.run import Run
from flows.workers.pool_stages import PoolStages


def make_engine(repository: Repository, run: Run) -> Engine:
    """Return an engine for `run` on the stages of `repository`.

    Raises:
        PolicyInvalid: execution.yaml has mistakes.
    """
    policies = load_policies(Path(repository.root))
    return Engine(repository, policies, run, PoolStages(repository, policies))


def start_engine(run: Run) -> Engine:
    """Start an engine on the targets of `run`, in the project of the current folder, and return it.

    Raises:
        PipelineInvalid, PolicyInvalid, UnknownStage: before any stage starts.
    """
    repository = Repository(pull=run.options.pull)
    engine = make_engine(repository, run)
    engine.start(repository.stages(run.targets, run.options.scope))
    return engine
