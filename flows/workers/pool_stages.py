"""Stages that run in work pools, as the engine sees them: asked for, sent, brought back.

What a stage reads is frozen here and lies in the DVC remote before a worker hears of it; what the worker made comes
back from there. Who carries the order to a pool is somebody else (`Carrier`), since the engine starts before
Prefect is loaded.
"""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Protocol

from flows.core.errors import Interrupted
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.stage_transfer import Elsewhere
from flows.engine.policy import Policies
from flows.workers.order import Order, source_of, versions_of

POLL_S = 0.05

Say = Callable[[str], None]


class Carrier(Protocol):
    """Has a stage run in a pool."""

    def carry(self, order: Order, pool: str, say: Say, ended: threading.Event) -> str:
        """Come back when a worker has done `order`; the worker's name.

        Raises:
            InkflowError: the stage failed there, nobody takes it, or `ended` was set.
        """


@dataclass
class PoolStages:
    """The stages of one engine that run in work pools."""

    repository: Repository
    policies: Policies
    carrier: "Future[Carrier]"
    ended: threading.Event
    _elsewhere: Elsewhere | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def pool_of(self, stage: str) -> str | None:
        """Pool that `stage` runs in; None for this machine."""
        return self.policies.of(stage).pool

    def fetch(self, stage: str) -> bool:
        """Bring an earlier result of `stage` on its present inputs from the remote into the cache, if it has one."""
        elsewhere = self._open()
        elsewhere.ensure_possible(stage)
        return elsewhere.fetch(stage, self.repository.run_key(stage))

    def run(self, stage: str, say: Say, *, force: bool) -> str:
        """Have `stage`, which was begun, run by a worker, and put what it made into the workspace; where it ran."""
        elsewhere, policy, workers = self._open(), self.policies.of(stage), self.policies.workers
        assert policy.pool is not None
        elsewhere.ensure_possible(stage)
        needs = elsewhere.needs(stage)
        order = Order(
            stage=stage,
            run_key=needs.run_key,
            inputs=dict(needs.inputs),
            remote_folder=elsewhere.remote_folders,
            versions=versions_of(workers.versions_of),
            other_versions=workers.other_versions,
            timeout_s=policy.timeout_s,
            force=force,
            **source_of(self.repository.root, needs.files, stage),
        )
        elsewhere.send(stage, needs)
        worker = self._the_carrier(stage).carry(order, policy.pool, say, self.ended)
        elsewhere.take(stage, needs)
        return f"worker {worker} of pool {policy.pool}"

    def _open(self) -> Elsewhere:
        with self._guard:
            if self._elsewhere is None:
                self._elsewhere = self.repository.elsewhere(self.policies.workers.remote_wait_s, self.ended)
            return self._elsewhere

    def _the_carrier(self, stage: str) -> Carrier:
        """Wait until Prefect is loaded."""
        while not self.carrier.done():
            if self.ended.wait(POLL_S):
                raise Interrupted(stage)
        try:
            return self.carrier.result()
        except CancelledError:
            raise Interrupted(stage) from None
