"""The nouns of the engine: stages as the graph names them, what is decided of them, what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a stage."""

    UNCHANGED = "unchanged"
    RESTORED = "restored from the run cache"
    RECORDED = "recorded as it lies there"  # data that nobody makes, or a frozen stage's: edited by hand
    RAN = "ran"


@dataclass(frozen=True)
class Stage:
    """A stage of DVC's graph, by its address (`train@cnn`), with what it waits for."""

    name: str
    upstream: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """What a stage runs: shell commands one after another, in a folder, with added environment.

    It may be a fork of a process that has the modules `preload` imported.
    """

    stage: str
    lines: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What became of one stage, and why; where it ran, if not here."""

    stage: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    place: str = ""

    @property
    def sentence(self) -> str:
        """The outcome with its reasons, for a log line or a state's message."""
        what = f"{self.outcome} on {self.place}" if self.place else str(self.outcome)
        return f"{what}: {', '.join(self.reasons)}" if self.reasons else what
