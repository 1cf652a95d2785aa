"""Runs stages in work pools for the engine: sends their inputs and an order, and fetches their results.

The inputs of a stage are frozen and in the DVC remote before a worker gets its order, and the outputs come back through
the remote. The `Dispatcher` is connected later: the engine starts before Prefect is imported.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from flows.core.errors import Interrupted, PoolUnusable
from flows.dvc_repo.remote.stage_transfer import StageTransfer
from flows.dvc_repo.repository import Repository
from flows.engine.policy import Policies
from flows.workers.order import Order, code_fields, installed_versions

POLL_S = 0.05


class Dispatcher(Protocol):
    """Sends stages to work pools: `flows.workers.dispatch`, whose import of Prefect takes 2 s."""

    def run(self, order: Order, pool: str, log: Callable[[str], None], cancelled: threading.Event) -> str:
        """Have a worker of `pool` execute `order`, and return the worker's name."""


@dataclass(frozen=True)
class NoDispatcher:
    """Refuses the stages of work pools, in a run without a named server: a temporary one has no pools.

    Attributes:
        problem: why the run has none, as a part of a sentence.
        advice: what to do.
    """

    problem: str = "no Prefect server is named"
    advice: str = "name one with PREFECT_API_URL or `prefect config set PREFECT_API_URL=URL`"

    def run(self, order: Order, pool: str, log: Callable[[str], None], cancelled: threading.Event) -> str:
        """Refuse `order`.

        Raises:
            PoolUnusable: always.
        """
        raise PoolUnusable(order.stage, pool, self.problem, self.advice)


@dataclass
class PoolStages:
    """The stages of one engine that run in work pools; safe to call from many threads."""

    repository: Repository
    policies: Policies
    _dispatcher: Dispatcher | None = None
    _connected: threading.Event = field(default_factory=threading.Event)
    _transfer: StageTransfer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, dispatcher: Dispatcher) -> None:
        """Set the dispatcher, once Prefect is imported."""
        self._dispatcher = dispatcher
        self._connected.set()

    def fetch(self, stage: str, cancelled: threading.Event) -> bool:
        """Fetch an earlier result of `stage` for its present inputs from the remote into the cache.

        Returns:
            True if the remote has a result.
        """
        transfer = self._open(cancelled)
        transfer.ensure_possible(stage)
        return any(transfer.fetch(stage, key) for key in self.repository.run_keys(stage))

    def run(self, stage: str, log: Callable[[str], None], cancelled: threading.Event, *, force: bool) -> str:
        """Run `stage`, which was begun, on a worker of its pool, and put its outputs into the workspace.

        Returns:
            The worker and the pool, for messages.
        """
        transfer, policy, workers = self._open(cancelled), self.policies.of(stage), self.policies.workers
        assert policy.pool is not None
        transfer.ensure_possible(stage)
        inputs = transfer.inputs(stage)
        order = Order(
            stage=stage,
            run_key=inputs.run_key,
            inputs=dict(inputs.inputs),
            executables=list(inputs.executables) or None,  # an older worker refuses an order with this field
            remote_folder=transfer.remote_folders,
            remote=transfer.remote_digest,
            versions=installed_versions(workers.versions_of),
            other_versions=workers.other_versions,
            timeout_s=policy.timeout_s,
            force=force,
            **code_fields(self.repository.root, inputs.files, stage),
        )
        transfer.push_inputs(stage, inputs)
        worker = self._wait_for_dispatcher(stage, cancelled).run(order, policy.pool, log, cancelled)
        transfer.restore_result(stage, inputs)
        return f"worker {worker} of pool {policy.pool}"

    def _open(self, cancelled: threading.Event) -> StageTransfer:
        with self._lock:
            if self._transfer is None:
                self._transfer = self.repository.transfer(self.policies.workers.remote_wait_s, cancelled)
            return self._transfer

    def _wait_for_dispatcher(self, stage: str, cancelled: threading.Event) -> Dispatcher:
        while not self._connected.wait(POLL_S):
            if cancelled.is_set():
                raise Interrupted(stage)
        assert self._dispatcher is not None
        return self._dispatcher
