"""Executes an order on a worker: checks out its code, fetches its inputs, runs the stage and pushes the result.

All files are in one folder of the machine (INKFLOW_WORKER_HOME, else ~/.inkflow/worker):

    sources/<repository>.git      git objects, fetched once
    work/<repository>/<stage>     the clone in which the stage runs, with its checkpoints
    cache                         DVC cache of all clones
    sharing                       locks of the stages that hold this machine's slots, memory, GPUs and mutexes
"""

import os
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from pydantic import ValidationError

from flows.core.errors import Interrupted, OrderUnusable
from flows.core.file_lock import exclusive_lock, run_lock
from flows.dvc_repo.remote.stage_transfer import WorkerProject, configure
from flows.dvc_repo.repository import Repository
from flows.engine import resources
from flows.engine.engine import Engine
from flows.engine.policy import Policies, Resources, load_policies
from flows.engine.run import Options, Run
from flows.engine.shared_slots import SharedSlots
from flows.workers.code_checkout import check_out, stage_folder, worker_home
from flows.workers.old_files import in_use, remove_old_files
from flows.workers.order import FORMAT, Order, version_differences

MEMORY_VARIABLE = "INKFLOW_WORKER_MEMORY"  # what the stages on this machine may ask for together; all when unset
SLOTS_VARIABLE = "INKFLOW_WORKER_SLOTS"  # stages that compute at a time on this machine; further ones only prepare


class Executor:
    """Executes one order.

    Attributes:
        activity: the current step, for the report.
    """

    def __init__(self, order: Order, log: Callable[[str], None]) -> None:
        self._order = order
        self._log = log
        self._shared_slots: SharedSlots | None = None
        self._engine: Engine | None = None
        self._cancelled = threading.Event()
        self.activity = "preparing"

    def run(self) -> None:
        """Run the stage and push its result to the DVC remote.

        Raises:
            OrderUnusable: this worker cannot execute the order.
            InkflowError: the stage failed, DVC or its remote failed, or the stage was interrupted.
        """
        order, home = self._order, worker_home()
        self._check_compatibility()
        slots, memory = _slots(), _memory()
        self._shared_slots = SharedSlots(home / "sharing", slots, resources.gpus(), memory.total_memory())
        folder = stage_folder(order, home)
        # An order for the same stage at another commit waits.
        with in_use(home, folder), exclusive_lock(folder / "lock", stop=self._cancelled) as is_held:
            if not is_held:
                raise Interrupted(order.stage)
            root = check_out(order, home, folder)
            os.chdir(root)  # DVC reads the current folder
            configure(root, home, order.remote_folder)
            policies = load_policies(root)
            with closing(WorkerProject(root, policies.workers.remote_wait_s, self._cancelled)) as project:
                project.checkout_inputs(order.stage, order.inputs, order.executables)
                self._run_stage(root, policies, slots, memory)
                self.activity = "pushing the result"
                project.push_result(order.stage, order.run_key)
        with suppress(OSError):  # the result is there
            remove_old_files(home)

    def interrupt(self) -> None:
        """End the stage with all processes that it started."""
        self._cancelled.set()
        if self._shared_slots is not None:
            self._shared_slots.stop_event.set()
        if self._engine is not None:
            self._engine.interrupt()

    def _check_compatibility(self) -> None:
        order = self._order
        if order.format != FORMAT:
            raise OrderUnusable(f"the order has format {order.format}, this worker expects {FORMAT}; update inkflow")
        differences = version_differences(order)
        if differences and order.other_versions == "refuse":
            raise OrderUnusable(
                f"this worker has other versions of packages that decide results: {differences}; install "
                "requirements.lock on it, or set `other_versions: warn` in execution.yaml"
            )
        if differences:
            self._log(f"warning: versions differ from the orchestrator's: {differences}")

    def _run_stage(self, root: Path, policies: Policies, slots: int, memory: Resources) -> None:
        """Run the stage with the engine, as a local run does."""
        order = self._order
        with run_lock(root, self._log, stop=self._cancelled) as is_held:
            if not is_held:
                raise Interrupted(order.stage)
            repository = Repository(root, only=[order.stage])
            run_key = repository.run_key(order.stage)
            if run_key != order.run_key:
                repository.close()
                raise OrderUnusable(
                    f"the inputs of {order.stage} differ on this worker (run key {run_key[:10]}, expected "
                    f"{order.run_key[:10]}); look for a file that git ignores, and for other settings of git or DVC"
                )
            # The orchestrator handles retries.
            overrides = {"pool": None, "slots": 1, "retries": 0, "timeout_s": order.timeout_s}
            policy = policies.of(order.stage).model_copy(update=overrides)
            only = Policies(stages={order.stage: policy}, resources=memory)
            run = Run(options=Options(jobs=slots, force=order.force, local=True))
            self._engine = Engine(repository, only, run, shared_slots=self._shared_slots)
            if self._cancelled.is_set():
                raise Interrupted(order.stage)
            self.activity = "running"
            self._engine.start(repository.stages([order.stage]))
            try:
                for events in self._engine.events():
                    events.follow(self._log)  # the stage has no retries here
            except BaseException:  # raised by a signal from Prefect's worker
                self.interrupt()
                raise
            finally:
                self._engine.close()
        if run.error is not None:
            raise run.error


def _memory() -> Resources:
    """Return the memory that the stages on this machine may ask for together.

    Raises:
        OrderUnusable: the environment variable is not an amount of memory.
    """
    value = os.environ.get(MEMORY_VARIABLE) or None
    try:
        return Resources(memory=value)  # type: ignore[arg-type]  # parsed there
    except ValidationError as error:
        raise OrderUnusable(
            f"{MEMORY_VARIABLE} is {value!r}, expected an amount of memory such as 12GiB; set it where the worker "
            "starts, or unset it"
        ) from error


def _slots() -> int:
    """Return the number of stages that may compute at a time on this machine.

    Raises:
        OrderUnusable: the environment variable is not a positive number.
    """
    value = os.environ.get(SLOTS_VARIABLE)
    if not value:
        return max(1, len(resources.gpus()))
    if not value.isdecimal() or int(value) < 1:
        raise OrderUnusable(
            f"{SLOTS_VARIABLE} is {value!r}, expected a whole number of at least 1; set it where the worker starts, or "
            "unset it"
        )
    return int(value)
