"""What engines at work in clones of one project share: places to run, and never the same work twice at a time.

The engines are processes; each holds what it has as locks on files, which the system lets go when it dies.
"""

import fcntl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from flows.engine.policy import StagePolicy
from flows.engine.scheduler import Allocation

POLL_S = 0.05


class SharedSlots:
    """Slots of `--jobs` and GPUs for the stages of all engines, and who runs which stage on which inputs."""

    def __init__(self, folder: Path, jobs: int, gpus: Sequence[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._jobs = jobs
        self._gpus = gpus
        self.ended = threading.Event()  # nothing is waited for any more

    @contextmanager
    def only_one(self, key: str) -> Iterator[None]:
        """Be the only engine that does what `key` stands for; another one is waited for."""
        with ExitStack() as held:
            while not self._take(held, f"run-{key}") and not self.ended.wait(POLL_S):
                pass
            yield

    @contextmanager
    def place(self, policy: StagePolicy) -> Iterator[Allocation]:
        """Wait for the slots and GPUs that `policy` asks for, and hold them."""
        slots, gpus = min(policy.slots, self._jobs), min(policy.gpus, len(self._gpus))
        with ExitStack() as held:
            while (devices := self._take_all(held, slots, gpus)) is None and not self.ended.wait(POLL_S):
                pass
            yield Allocation(slots, tuple(devices or ()))

    def _take_all(self, held: ExitStack, slots: int, gpus: int) -> list[int] | None:
        """Numbers of the GPUs taken together with the slots; None, and nothing held, when there is too little."""
        with ExitStack() as door, ExitStack() as taken:
            if not self._take(door, "door"):  # two at a time could each hold half of what both need
                return None
            if len(self._take_some(taken, slots, [f"slot-{number}" for number in range(self._jobs)])) < slots:
                return None
            devices = self._take_some(taken, gpus, [f"gpu-{number}" for number in self._gpus])
            if len(devices) < gpus:
                return None
            held.push(taken.pop_all())
            return [int(name.removeprefix("gpu-")) for name in devices]

    def _take_some(self, held: ExitStack, count: int, names: Sequence[str]) -> list[str]:
        """Take up to `count` of `names`; those that were free."""
        taken: list[str] = []
        for name in names:
            if len(taken) < count and self._take(held, name):
                taken.append(name)
        return taken

    def _take(self, held: ExitStack, name: str) -> bool:
        """Take the lock `name` unless somebody has it."""
        file: IO[str] = (self._folder / name).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        held.enter_context(file)
        return True
