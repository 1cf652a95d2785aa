"""Types that the engine shares with the other rooms: stages, commands, outcomes and results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a stage was brought up to date."""

    UNCHANGED = "unchanged"
    RESTORED = "restored from the run cache"
    RECORDED = "recorded without running"  # tracked data or a frozen stage whose content was edited by hand
    RAN = "ran"


@dataclass(frozen=True)
class Stage:
    """A stage of DVC's graph.

    Attributes:
        name: DVC's address of the stage (`train@cnn`).
        upstream: names of the stages that it depends on.
        outputs: paths of its outputs.
    """

    name: str
    upstream: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """The command of a stage.

    Attributes:
        stage: name of the stage.
        lines: shell commands that run one after another.
        folder: working directory.
        environment: variables that are added to the environment.
        preload: modules that may be imported ahead, in a process of which the command is then a fork.
    """

    stage: str
    lines: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """The result of a stage that is up to date.

    Attributes:
        stage: name of the stage.
        outcome: how it was brought up to date.
        reasons: why it was not unchanged.
        location: the worker and pool that ran it; empty for this machine.
    """

    stage: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    location: str = ""

    @property
    def message(self) -> str:
        """The outcome with its reasons, for a log line or for the message of a Prefect state."""
        outcome = f"{self.outcome} on {self.location}" if self.location else str(self.outcome)
        return f"{outcome}: {', '.join(self.reasons)}" if self.reasons else outcome
