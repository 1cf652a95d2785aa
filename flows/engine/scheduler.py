"""Which stages may start now: those whose upstream is done, as far as slots and GPUs reach. No clock, no process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.engine.policy import StagePolicy
from flows.engine.types import Stage


@dataclass(frozen=True)
class Allocation:
    """What a started stage holds: slots of `--jobs`, and GPUs by number."""

    slots: int
    gpus: tuple[int, ...]


class Scheduler:
    """The state of a run: what waits, runs, is done, failed, or stands behind a failure."""

    def __init__(
        self, stages: Sequence[Stage], policies: Mapping[str, StagePolicy], jobs: int, gpus: Sequence[int] = ()
    ) -> None:
        self._waiting = {stage.name: stage for stage in stages}
        self._policies = policies
        self._jobs = jobs
        self._slots = jobs
        self._gpus = list(gpus)
        self._held: dict[str, Allocation] = {}
        self._done: set[str] = set()
        self._failed: dict[str, str] = {}  # a stage that failed or stands behind one: the one that failed

    @property
    def running(self) -> tuple[str, ...]:
        """Stages that were started and have not ended."""
        return tuple(self._held)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Stages that may still start."""
        return tuple(self._waiting)

    def start_next(self) -> tuple[Stage, Allocation] | None:
        """The next stage that may start, which from now on runs; None when none may, or nothing is left for it."""
        for stage in self._waiting.values():
            if all(name in self._done or not self._is_known(name) for name in stage.upstream):
                allocation = self._allocate(self._policies[stage.name])
                if allocation is not None:
                    del self._waiting[stage.name]
                    self._held[stage.name] = allocation
                    return stage, allocation
        return None

    def finish(self, name: str) -> None:
        """Stage `name` ended well."""
        self._release(name)
        self._done.add(name)

    def fail(self, name: str) -> dict[str, str]:
        """Stage `name` failed: the stages behind it, which will not run, each with the failure it stands behind."""
        self._release(name)
        self._failed[name] = name
        behind = {}
        for stage in list(self._waiting.values()):  # in the order of the graph: upstream is looked at first
            cause = next((self._failed[above] for above in stage.upstream if above in self._failed), None)
            if cause is not None:
                self._failed[stage.name] = behind[stage.name] = cause
                del self._waiting[stage.name]
        return behind

    def stop(self) -> tuple[str, ...]:
        """Start nothing more; the stages that would have come."""
        left = tuple(self._waiting)
        self._waiting.clear()
        return left

    def _is_known(self, name: str) -> bool:
        return name in self._waiting or name in self._held or name in self._failed

    def _allocate(self, policy: StagePolicy) -> Allocation | None:
        if policy.pool is not None:
            return Allocation(0, ())  # it takes nothing of this machine; how many run at once is the pool's matter
        slots = min(policy.slots, self._jobs)  # a stage that asks for more than there is gets all of it
        gpus = min(policy.gpus, len(self._gpus) + sum(len(held.gpus) for held in self._held.values()))
        if slots > self._slots or gpus > len(self._gpus):
            return None
        self._slots -= slots
        taken, self._gpus = tuple(self._gpus[:gpus]), self._gpus[gpus:]
        return Allocation(slots, taken)

    def _release(self, name: str) -> None:
        held = self._held.pop(name)
        self._slots += held.slots
        self._gpus = sorted([*self._gpus, *held.gpus])
