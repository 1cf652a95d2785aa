"""Interfaces that the engine needs: a repository of stages, and work pools that run stages on other machines."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from flows.engine.types import Command, Lineage, Result, Stage


class Repository(Protocol):
    """The stages of a project and their records; called from many threads."""

    root: Path

    def configure_waiting(self, log: Callable[[str], None], stop_event: threading.Event) -> None:
        """Logs waits for other processes with `log`, and ends them when `stop_event` is set."""

    def expect(self, names: Sequence[str]) -> None:
        """Prepares a run in which the stages `names` may be recorded, so that new records keep the graph's order."""

    def try_restore(self, stage: Stage, *, force: bool = False) -> Result | tuple[str, ...]:
        """Restores the outputs of `stage` from the cache, unless it is unchanged or must run.

        Returns:
            The result if the stage need not run, otherwise the reasons why it must run.
        """

    def run_key(self, name: str) -> str:
        """Returns the run-cache key of stage `name`: equal in all clones for equal command, parameters and inputs."""

    def begin(self, name: str) -> Command | None:
        """Takes a snapshot of the inputs of stage `name`, backs up its outputs, and returns its command.

        Returns:
            None if another process uses its files, or has recorded it since `try_restore`, which is to be asked again.
        """

    def record(self, name: str) -> None:
        """Hashes, caches and records the outputs of stage `name`, which was begun."""

    def abandon(self, name: str) -> None:
        """Undoes `begin` for stage `name`, which failed: restores its earlier outputs."""

    def lineage(self, name: str) -> Lineage:
        """Returns the recorded contents of the outputs and dependencies of stage `name`."""

    def close(self) -> None:
        """Ends the run and closes the repository."""


class Pools(Protocol):
    """Work pools, which run stages on other machines; called from many threads."""

    def connect(self, dispatcher: Any) -> None:
        """Sets the dispatcher that sends stages to workers, once it is loaded."""

    def fetch(self, stage: str, stop_event: threading.Event) -> bool:
        """Fetches an earlier result of `stage` for its present inputs into the cache; False if there is none."""

    def run(self, stage: str, log: Callable[[str], None], stop_event: threading.Event, *, force: bool) -> str:
        """Runs `stage`, which was begun, on a worker, and returns the name of the worker and of its pool."""
