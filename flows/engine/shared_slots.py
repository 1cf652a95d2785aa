"""Slots, memory, GPUs, mutexes and work that the engines of several processes share on one machine.

The engines are the runs in one folder, the trials of a sweep in their clones, or the stages that a machine's workers
run. Each holds its share as locks on files. The system releases them when the process dies.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import IO, TypeVar

from flows.engine.policy import StagePolicy
from flows.engine.scheduler import Allocation
from flows.engine.types import file_name

SHARING = Path(".inkflow/sharing")  # in a project: of its runs, and of the trials of its sweeps
POLL_S = 0.05
T = TypeVar("T")


class SharedSlots:
    """Slots of `--jobs`, memory, GPUs and mutexes for the stages of all engines, and locks on the work that they do.

    Attributes:
        spans_clones: the engines work in clones of one project, where no list of files in use keeps them apart.
        stop_event: ends all waits when it is set.
    """

    def __init__(
        self, folder: Path, jobs: int, gpus: Sequence[int], memory: int | None = None, *, spans_clones: bool = True
    ) -> None:
        """Creates the engine's side.

        Args:
            folder: where the locks are.
            jobs: number of slots.
            gpus: numbers of the GPUs.
            memory: bytes that all stages together may ask for; None for no limit.
            spans_clones: see above.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._jobs = jobs
        self._gpus = gpus
        self._memory = memory
        self.spans_clones = spans_clones
        self.stop_event = threading.Event()

    @contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        """Waits until no other engine does the work with this key, and keeps others from it during the block.

        The lock's file is removed with the lock: there is a key for each content of the inputs.
        """
        name = f"run-{key}"
        with ExitStack() as locks:
            if self._wait_for(partial(self._try_lock, locks, name)):
                locks.callback((self._folder / name).unlink, missing_ok=True)
            yield

    @contextmanager
    def allocate(self, policy: StagePolicy) -> Iterator[Allocation]:
        """Waits for the slots, memory, GPUs and mutexes that `policy` asks for, and holds them during the block.

        All engines take the kinds in the same order, so that no two wait for each other, and the slots last, which then
        are never held idle. The engine that waits for a kind keeps the others from taking of it, so that a stage that
        asks for much gets it in the end.
        """
        here = policy.pool is None  # else it uses nothing of this machine
        slots = min(policy.slots, self._jobs) if here else 0
        with ExitStack() as held:
            for name in sorted(set(policy.mutex)):
                self._wait_for(partial(self._try_lock, held, f"mutex-{file_name(name)}"))
            if here and policy.memory and self._memory is not None:
                asked = min(policy.memory, self._memory)
                self._in_turn("memory", lambda: self._take_memory(held, asked))
            gpus = [f"gpu-{number}" for number in self._gpus]
            taken = self._take(held, "gpus", gpus, min(policy.gpus, len(gpus)) if here else 0)
            # From the highest number: the low ones are all that an engine with fewer jobs can take.
            self._take(held, "slots", [f"slot-{number}" for number in reversed(range(self._jobs))], slots)
            numbers = tuple(int(name.removeprefix("gpu-")) for name in taken)
            yield Allocation(slots, numbers, policy.memory if here else 0, policy.mutex)

    def _take(self, held: ExitStack, kind: str, names: Sequence[str], wanted: int) -> Sequence[str]:
        """Waits for `wanted` of `names`, locks them until `held` closes, and returns them."""

        def attempt() -> list[str] | None:
            with ExitStack() as locks:
                free = list(islice((name for name in names if self._try_lock(locks, name)), wanted))
                if len(free) < wanted:
                    return None
                held.push(locks.pop_all())
                return free

        return (self._in_turn(kind, attempt) if wanted else None) or ()

    def _take_memory(self, held: ExitStack, asked: int) -> bool:
        """Books `asked` bytes until `held` closes; False if too few are free. A booking is a locked file."""
        assert self._memory is not None
        used = 0
        for booking in self._folder.glob("memory-*-*"):
            with ExitStack() as dead:
                if self._try_lock(dead, booking.name):
                    booking.unlink(missing_ok=True)
                else:
                    used += int(booking.name.split("-")[1])
        if used + asked > self._memory:
            return False
        return next(True for number in count() if self._try_lock(held, f"memory-{asked}-{number}"))

    def _in_turn(self, kind: str, attempt: Callable[[], T | None]) -> T | None:
        """Repeats `attempt` until it succeeds, while no other engine takes resources of this kind."""
        with ExitStack() as turn:
            self._wait_for(partial(self._try_lock, turn, f"turn-{kind}"))
            return self._wait_for(attempt)

    def _wait_for(self, attempt: Callable[[], T | None]) -> T | None:
        """Repeats `attempt` until it succeeds, and returns its result; None if the engine is stopped."""
        while not (result := attempt()) and not self.stop_event.wait(POLL_S):
            pass
        return result

    def _try_lock(self, locks: ExitStack, name: str) -> bool:
        """Locks the file `name` until `locks` closes; returns False if another engine holds it."""
        file = (self._folder / name).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        if not _is_file_at(file, self._folder / name):
            file.close()
            return False
        locks.enter_context(file)
        return True


def _is_file_at(file: IO[str], path: Path) -> bool:
    """Returns True if `path` still names the open file: its holder may have removed it, and another made a new one."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
