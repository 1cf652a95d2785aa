"""An interrupt while DVC reads the inputs of a stage, which it does to the end of a file."""

import threading

import pytest

from flows.dvc_repo.repository import Repository
from flows.engine import engine as engine_module
from flows.engine.display.plain import SilentDisplay
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Run
from flows.engine.types import Result, Stage
from tests.conftest import Toy, run_engine


class Reading(Repository):
    """A repository that reads the inputs of a stage for ever, as of a file that is very large."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = threading.Event()
        self.is_closed = False

    def try_restore(self, stage: Stage, *, force: bool = False) -> Result | tuple[str, ...]:
        """Never returns."""
        self.reads.set()
        threading.Event().wait()
        return super().try_restore(stage, force=force)

    def close(self) -> None:
        """Notes the call: the thread that reads still uses the repository."""
        self.is_closed = True


def test_interrupt_while_inputs_are_read(diamond: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run waits for ABANDON_S alone, and says so; what it leaves, the next run takes care of."""
    monkeypatch.setattr(engine_module, "ABANDON_S", 0.1)
    repository = Reading()
    run = Run(display=SilentDisplay())
    engine = Engine(repository, Policies(), run)
    engine.start(repository.stages())
    assert repository.reads.wait(240)
    engine.interrupt()
    engine.close()
    assert not repository.is_closed
    assert (run.summary, run.counts) == ("0 of 4 stages ran, 4 without a result", "4 without a result")
    Repository.close(repository)
    assert run_engine().error is None
