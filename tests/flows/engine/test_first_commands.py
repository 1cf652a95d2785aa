"""The engine tells when the first commands run: the import of Prefect waits for them."""

from flows.dvc_repo.repository import Repository
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from tests.conftest import Toy, wait_until

LONG_S = 120.0
WAITING = """
stages:
  first: {cmd: 'echo > started-first; until [ -e go ]; do sleep 0.05; done; echo 1 > first', outs: [first]}
  second: {cmd: 'echo > started-second; until [ -e go ]; do sleep 0.05; done; echo 1 > second', outs: [second]}
"""


def started_engine(jobs: int) -> Engine:
    """Returns an engine that has started on the project in the current folder."""
    repository = Repository()
    engine = Engine(repository, Policies(), Run(options=Options(jobs=jobs)))
    engine.start(repository.stages())
    return engine


def test_wait_for_the_first_commands(toy: Toy) -> None:
    """The wait ends when the commands of the first stages start, while these still run."""
    toy.write({"dvc.yaml": WAITING})
    engine = started_engine(jobs=2)
    engine.wait_until_computing(LONG_S)
    assert not (toy.folder / "dvc.lock").exists()
    wait_until(lambda: all((toy.folder / f"started-{name}").exists() for name in ("first", "second")), LONG_S)
    toy.write({"go": ""})
    engine.wait()
    assert engine.run.error is None


def test_wait_for_stages_that_never_compute(toy: Toy) -> None:
    """The wait ends too if a stage is unchanged, or fails before its command starts."""
    toy.write({"dvc.yaml": WAITING.replace("outs", "deps: [lacking], outs"), "go": ""})
    engine = started_engine(jobs=1)
    engine.wait_until_computing(LONG_S)
    engine.wait()
    assert engine.run.error is not None
