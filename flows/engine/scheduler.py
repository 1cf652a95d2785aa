"""Decides which stages may start: those whose upstream stages are done, within slots, memory, GPUs and mutexes.

Pure bookkeeping: reads no clock and starts no process.
"""

import sys
from bisect import insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.engine.policy import StagePolicy
from flows.engine.types import Stage


@dataclass(frozen=True)
class Allocation:
    """The resources that a running stage holds: slots of `--jobs`, GPUs by number, bytes of memory, mutexes."""

    slots: int
    gpus: tuple[int, ...]
    memory: int = 0
    mutexes: tuple[str, ...] = ()


class Scheduler:
    """The state of a run: the stages that wait, run, are done, or do not run because of a failure."""

    def __init__(
        self,
        stages: Sequence[Stage],
        policies: Mapping[str, StagePolicy],
        jobs: int,
        gpus: Sequence[int] = (),
        memory: int = sys.maxsize,
    ) -> None:
        self._waiting = {stage.name: stage for stage in stages}
        self._policies = policies
        self._policy_ids = {id(policies[stage.name]) for stage in stages}
        self._jobs = jobs
        self._free_slots = jobs
        self._free_gpus = list(gpus)
        self._memory = self._free_memory = memory
        self._mutexes: set[str] = set()
        self._allocations: dict[str, Allocation] = {}
        self._stages = list(stages)
        self._upstream = {  # the stages that have not ended and for which a stage waits
            stage.name: {*stage.upstream, *stage.waits_for} & self._waiting.keys() for stage in stages
        }
        self._downstream: dict[str, list[int]] = defaultdict(list)  # positions in the order of the graph
        for position, stage in enumerate(stages):
            for name in self._upstream[stage.name]:
                self._downstream[name].append(position)
        self._ready = [position for position, stage in enumerate(stages) if not self._upstream[stage.name]]
        self._causes: dict[str, str] = {}  # by a failed stage or one downstream of it: the name of the failed stage

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the stages that have started and not ended."""
        return tuple(self._allocations)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Names of the stages that may still start."""
        return tuple(self._waiting)

    def start_next(self) -> tuple[Stage, Allocation] | None:
        """Starts the next stage that may start, and returns it with its resources; None if no stage may start now."""
        refused: set[int] = set()  # ids of policies for which resources are lacking
        for index, position in enumerate(self._ready):
            stage = self._stages[position]
            policy = self._policies[stage.name]
            allocation = None if id(policy) in refused else self._allocate(policy)
            if allocation is not None:
                del self._ready[index], self._waiting[stage.name]
                self._allocations[stage.name] = allocation
                return stage, allocation
            refused.add(id(policy))
            if refused == self._policy_ids:  # of thousands of ready stages, the others need not be looked at
                break
        return None

    def finish(self, name: str) -> None:
        """Marks the running stage `name` as done."""
        self._release(name)
        self._end(name)

    def fail(self, name: str) -> dict[str, str]:
        """Marks the running stage `name` as failed.

        Returns:
            The waiting stages downstream of it, which will not run, each with the name of the failed stage.
        """
        self._release(name)
        self._causes[name] = name
        skipped = {}
        for stage in list(self._waiting.values()):  # in the order of the graph: upstream stages come first
            cause = next((self._causes[upstream] for upstream in stage.upstream if upstream in self._causes), None)
            if cause is not None:
                self._causes[stage.name] = skipped[stage.name] = cause
                del self._waiting[stage.name]
        for ended in (name, *skipped):
            self._end(ended)
        return skipped

    def stop(self) -> tuple[str, ...]:
        """Lets no further stage start, and returns the names of the stages that were waiting."""
        waiting = self.waiting
        self._waiting.clear()
        self._ready.clear()
        return waiting

    def _end(self, name: str) -> None:
        """Lets the waiting stages start for which `name`, which has ended or does not run, was the last to wait for."""
        for position in self._downstream[name]:
            stage = self._stages[position].name
            self._upstream[stage].discard(name)
            if not self._upstream[stage] and stage in self._waiting:
                insort(self._ready, position)

    def _allocate(self, policy: StagePolicy) -> Allocation | None:
        """Takes what a stage asks for; one that asks for more slots, GPUs or memory than there are gets all."""
        if not self._mutexes.isdisjoint(policy.mutex):
            return None
        slots = gpus = memory = 0
        if policy.pool is None:  # else it uses nothing of this machine; the pool limits how many run at once
            total_gpus = len(self._free_gpus) + sum(len(item.gpus) for item in self._allocations.values())
            slots, gpus = min(policy.slots, self._jobs), min(policy.gpus, total_gpus)
            memory = min(policy.memory, self._memory)
        if slots > self._free_slots or gpus > len(self._free_gpus) or memory > self._free_memory:
            return None
        self._free_slots -= slots
        self._free_memory -= memory
        self._mutexes |= set(policy.mutex)
        allocated, self._free_gpus = tuple(self._free_gpus[:gpus]), self._free_gpus[gpus:]
        return Allocation(slots, allocated, memory, policy.mutex)

    def _release(self, name: str) -> None:
        allocation = self._allocations.pop(name)
        self._free_slots += allocation.slots
        self._free_memory += allocation.memory
        self._mutexes -= set(allocation.mutexes)
        self._free_gpus = sorted([*self._free_gpus, *allocation.gpus])
