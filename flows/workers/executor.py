"""A worker's part: the order's code in a clone, its inputs laid out, the stage run by the engine, its result given.

All of it lies below one folder of the machine (INKFLOW_WORKER_HOME, else ~/.inkflow/worker):

    sources/<repository>.git      git's objects, fetched once
    work/<repository>/<stage>     a clone in which the stage runs; its checkpoints stay there
    cache                         DVC's cache of all clones
    sharing                       which stages hold this machine's slots and GPUs
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from flows.core.errors import Interrupted, OrderUnusable
from flows.core.file_lock import one_at_a_time, only_run_here
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.stage_transfer import WorkerProject, configure
from flows.engine import resources
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.policy import Policies, load_policies
from flows.engine.run import Options, Run
from flows.engine.shared_slots import SharedSlots
from flows.workers.code_checkout import check_out, place_of, worker_home
from flows.workers.order import FORMAT, Order, other_versions

SLOTS = "INKFLOW_WORKER_SLOTS"  # stages that compute at the same time on this machine; the next ones prepare meanwhile


class LogDisplay(Display):
    """A display whose lines go to the flow run's log."""

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__()
        self._say = say

    def line(self, stage: str, text: str) -> None:
        """A line that the stage printed."""
        self._say(text)

    def _print(self, text: str) -> None:
        """Events: the orchestrator says them in its own words."""


class Executor:
    """One order being done."""

    def __init__(self, order: Order, say: Callable[[str], None]) -> None:
        self._order = order
        self._say = say
        self._shared_slots: SharedSlots | None = None
        self._engine: Engine | None = None
        self._ended = threading.Event()
        self.doing = "preparing"

    def run(self) -> None:
        """Run the stage and give its result to the DVC remote.

        Raises:
            OrderUnusable: it cannot be done here.
            InkflowError: the stage failed, DVC or its remote did, or somebody ended it.
        """
        order, home = self._order, worker_home()
        self._check()
        slots = _slots()
        self._shared_slots = SharedSlots(home / "sharing", slots, resources.gpus())
        place = place_of(order, home)
        with one_at_a_time(place / "lock"):  # the same stage of another commit waits
            root = check_out(order, home, place)
            os.chdir(root)  # DVC looks at the current folder
            configure(root, home, order.remote_folder)
            policies = load_policies(root)
            workplace = WorkerProject(root, policies.workers.remote_wait_s, self._ended)
            workplace.lay_out(order.stage, order.inputs)
            self._run_stage(root, policies, slots)
            self.doing = "giving the result"
            workplace.give(order.stage, order.run_key)
            workplace.close()

    def interrupt(self) -> None:
        """End the stage with all that it started."""
        self._ended.set()
        if self._shared_slots is not None:
            self._shared_slots.ended.set()
        if self._engine is not None:
            self._engine.interrupt()

    def _check(self) -> None:
        order = self._order
        if order.format != FORMAT:
            raise OrderUnusable(f"the order has format {order.format}, and this worker knows {FORMAT}; update inkflow")
        others = other_versions(order)
        if others and order.other_versions == "refuse":
            raise OrderUnusable(
                f"this worker has other versions of what decides results: {others}; install requirements.lock there, "
                "or let it pass with `other_versions: warn` in execution.yaml"
            )
        if others:
            self._say(f"warning: other versions than the orchestrator's: {others}")

    def _run_stage(self, root: Path, policies: Policies, slots: int) -> None:
        """Run the stage by the engine, as it would run locally."""
        order = self._order
        with only_run_here(root, self._say):
            repository = Repository(root, only=[order.stage])
            found = repository.run_key(order.stage)
            if found != order.run_key:
                repository.close()
                raise OrderUnusable(
                    f"what {order.stage} reads is not the same here (key {found[:10]}, ordered {order.run_key[:10]}): "
                    "a file that git ignores, or another version of git's or DVC's settings"
                )
            # retries are the orchestrator's
            here = {"pool": None, "slots": 1, "retries": 0, "timeout_s": order.timeout_s}
            only = Policies(stages={order.stage: policies.of(order.stage).model_copy(update=here)})
            run = Run(options=Options(jobs=slots, force=order.force, local=True), display=LogDisplay(self._say))
            self._engine = Engine(repository, only, run, shared_slots=self._shared_slots)
            if self._ended.is_set():
                raise Interrupted(order.stage)
            self.doing = "running"
            self._engine.start(repository.stages([order.stage]))
            try:
                self._engine.wait()
            except BaseException:  # Prefect's worker asked it to end
                self.interrupt()
                raise
        if run.error is not None:
            raise run.error


def _slots() -> int:
    """How many stages may compute at the same time on this machine.

    Raises:
        OrderUnusable: the environment says something else than a number.
    """
    said = os.environ.get(SLOTS)
    if not said:
        return max(1, len(resources.gpus()))
    if not said.isdecimal() or int(said) < 1:
        raise OrderUnusable(
            f"{SLOTS} is {said!r}, and has to be a whole number from 1; set it where the worker starts, or unset it"
        )
    return int(said)
