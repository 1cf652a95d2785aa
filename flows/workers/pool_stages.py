"""Stages that run in work pools, as the engine sees them: asked for, sent, brought back.

What a stage reads is frozen here and lies in the DVC remote before a worker hears of it; what the worker made comes
back from there. Who carries the order to a pool is somebody else (`Carrier`), since the engine starts before
Prefect is loaded.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from flows.core.errors import Interrupted
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.stage_transfer import StageTransfer
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
    """The stages of one engine that run in work pools; calls come from many threads."""

    repository: Repository
    policies: Policies
    _carrier: Carrier | None = None
    _connected: threading.Event = field(default_factory=threading.Event)
    _transfer: StageTransfer | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, carrier: Carrier) -> None:
        """Give the stages what carries orders to pools: it is there when Prefect has loaded."""
        self._carrier = carrier
        self._connected.set()

    def fetch(self, stage: str, ended: threading.Event) -> bool:
        """Bring an earlier result of `stage` on its present inputs from the remote into the cache, if it has one."""
        transfer = self._open(ended)
        transfer.ensure_possible(stage)
        return transfer.fetch(stage, self.repository.run_key(stage))

    def run(self, stage: str, say: Say, ended: threading.Event, *, force: bool) -> str:
        """Have `stage`, which was begun, run by a worker, and put its outputs into the workspace; where it ran."""
        transfer, policy, workers = self._open(ended), self.policies.of(stage), self.policies.workers
        assert policy.pool is not None
        transfer.ensure_possible(stage)
        needs = transfer.needs(stage)
        order = Order(
            stage=stage,
            run_key=needs.run_key,
            inputs=dict(needs.inputs),
            remote_folder=transfer.remote_folders,
            versions=versions_of(workers.versions_of),
            other_versions=workers.other_versions,
            timeout_s=policy.timeout_s,
            force=force,
            **source_of(self.repository.root, needs.files, stage),
        )
        transfer.send(stage, needs)
        worker = self._wait_for_carrier(stage, ended).carry(order, policy.pool, say, ended)
        transfer.take(stage, needs)
        return f"worker {worker} of pool {policy.pool}"

    def _open(self, ended: threading.Event) -> StageTransfer:
        with self._guard:
            if self._transfer is None:
                self._transfer = self.repository.transfer(self.policies.workers.remote_wait_s, ended)
            return self._transfer

    def _wait_for_carrier(self, stage: str, ended: threading.Event) -> Carrier:
        """Wait until Prefect has loaded."""
        while not self._connected.wait(POLL_S):
            if ended.is_set():
                raise Interrupted(stage)
        assert self._carrier is not None
        return self._carrier
