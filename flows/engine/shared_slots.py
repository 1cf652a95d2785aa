"""Slots, GPUs and work that engines in clones of one project share, so that none runs the same work as another.

Each engine is a process and holds its share as locks on files. The system releases them when the process dies.
"""

import fcntl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from flows.engine.policy import StagePolicy
from flows.engine.scheduler import Allocation

POLL_S = 0.05


class SharedSlots:
    """Slots of `--jobs` and GPUs for the stages of all engines, and locks on the work that each engine does.

    Attributes:
        stop_event: ends all waits when it is set.
    """

    def __init__(self, folder: Path, jobs: int, gpus: Sequence[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._jobs = jobs
        self._gpus = gpus
        self.stop_event = threading.Event()

    @contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        """Waits until no other engine does the work with this key, and keeps others from it during the block."""
        with ExitStack() as locks:
            while not self._try_lock(locks, f"run-{key}") and not self.stop_event.wait(POLL_S):
                pass
            yield

    @contextmanager
    def allocate(self, policy: StagePolicy) -> Iterator[Allocation]:
        """Waits for the slots and GPUs that `policy` asks for, and holds them during the block."""
        slots, gpus = min(policy.slots, self._jobs), min(policy.gpus, len(self._gpus))
        with ExitStack() as locks:
            while (numbers := self._try_allocate(locks, slots, gpus)) is None and not self.stop_event.wait(POLL_S):
                pass
            yield Allocation(slots, tuple(numbers or ()))

    def _try_allocate(self, locks: ExitStack, slots: int, gpus: int) -> list[int] | None:
        """Locks slots and GPUs, and returns the numbers of the GPUs; None, without locks, if too few are free."""
        with ExitStack() as guard, ExitStack() as acquired:
            if not self._try_lock(guard, "allocation"):  # two engines at once could each hold half of what both need
                return None
            if len(self._lock_free(acquired, slots, [f"slot-{number}" for number in range(self._jobs)])) < slots:
                return None
            names = self._lock_free(acquired, gpus, [f"gpu-{number}" for number in self._gpus])
            if len(names) < gpus:
                return None
            locks.push(acquired.pop_all())
            return [int(name.removeprefix("gpu-")) for name in names]

    def _lock_free(self, locks: ExitStack, count: int, names: Sequence[str]) -> list[str]:
        """Locks up to `count` of `names`, and returns those that were free."""
        return list(islice((name for name in names if self._try_lock(locks, name)), count))

    def _try_lock(self, locks: ExitStack, name: str) -> bool:
        """Locks the file `name` until `locks` closes; returns False if another engine holds it."""
        file: IO[str] = (self._folder / name).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        locks.enter_context(file)
        return True
