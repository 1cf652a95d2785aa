"""What the engine asks of others: a repository of stages, and pools that run stages on other machines."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from flows.engine.types import Command, Result, Stage

Say = Callable[[str], None]


class Repository(Protocol):
    """The stages of a project and their records; calls come from many threads."""

    root: Path

    def tell(self, say: Say, ended: threading.Event) -> None:
        """Report waits for other processes to `say`; wait for nothing once `ended` is set."""

    def expect(self, names: Sequence[str]) -> None:
        """Prepare to record these stages: new entries keep the graph's order."""

    def settle(self, stage: Stage, *, force: bool = False) -> Result | tuple[str, ...]:
        """Result of a stage that need not run, unchanged or restored just now; else the reasons why it must."""

    def run_key(self, name: str) -> str:
        """Equal for stages of several clones that would do the same work."""

    def begin(self, name: str) -> Command:
        """Freeze the inputs of a stage, put its earlier outputs aside, and give its command."""

    def record(self, name: str) -> None:
        """Hash, cache and record the outputs of a stage that was begun."""

    def abandon(self, name: str) -> None:
        """Clear what a failed stage left, and put its earlier outputs back."""

    def skip(self, name: str) -> None:
        """Expect no record of this stage any more."""

    def flush(self) -> None:
        """Write all records that are not written yet."""

    def close(self) -> None:
        """Write what is left, and close the repository."""


class Pools(Protocol):
    """Work pools, in which stages run on other machines."""

    def connect(self, carrier: Any) -> None:
        """Give the pools what carries orders to them, once it is loaded."""

    def fetch(self, stage: str, ended: threading.Event) -> bool:
        """Bring an earlier result of `stage` on its present inputs into the cache, if a machine has one."""

    def run(self, stage: str, say: Say, ended: threading.Event, *, force: bool) -> str:
        """Have `stage`, which was begun, run by a worker; where it ran."""
