"""Types that the engine shares with the other rooms: stages, commands, outcomes and results."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

MAX_FILE_NAME = 200  # bytes; file systems allow 255


class Outcome(StrEnum):
    """How a stage was brought up to date."""

    UNCHANGED = "unchanged"
    RESTORED = "restored from the run cache"
    RECORDED = "recorded without running"  # tracked data or a frozen stage whose content was edited by hand
    RAN = "ran"


class Scope(StrEnum):
    """The stages that a run brings up to date, beside its targets."""

    UPSTREAM = "upstream"  # all that the targets depend on
    DOWNSTREAM = "downstream"  # all that depend on the targets
    SINGLE = "single"  # none


@dataclass(frozen=True)
class Stage:
    """A stage of DVC's graph.

    Attributes:
        name: DVC's address of the stage (`train@cnn`).
        upstream: names of the stages that it depends on.
        outputs: paths of its outputs.
        has_command: False for data that DVC only tracks.
        waits_for: names of other stages that end before it starts, if the run has them, whether or not they succeed.
    """

    name: str
    upstream: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    has_command: bool = True
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """The command of a stage.

    Attributes:
        stage: name of the stage.
        lines: shell commands that run one after another.
        folder: working directory.
        environment: variables that are added to the environment.
        preload: modules that may be imported ahead, in a process of which the command is then a fork.
        declared: paths of the dependencies, files with parameters and outputs of the stage in the project.
        graph_outputs: paths of the outputs of all stages of the project.
        is_ignored: returns True for the path of a file that the hash of a folder leaves out.
    """

    stage: str
    lines: tuple[str, ...]
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    graph_outputs: frozenset[str] = frozenset()
    is_ignored: Callable[[str], bool] = lambda _: False


@dataclass(frozen=True)
class Content:
    """A file or folder of a stage: its path, DVC's hash of it (empty if DVC keeps none), its size in bytes if known."""

    path: str
    hash: str
    size: int | None = None


@dataclass(frozen=True)
class Lineage:
    """The outputs of a stage that ran, and the files and folders from which it made them."""

    outputs: tuple[Content, ...]
    dependencies: tuple[Content, ...]


@dataclass(frozen=True)
class Result:
    """The result of a stage that is up to date.

    Attributes:
        stage: name of the stage.
        outcome: how it was brought up to date.
        reasons: why it was not unchanged.
        location: the worker and pool that ran it; empty for this machine.
        lineage: what it made of what, if it ran and the policies ask for it.
    """

    stage: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    location: str = ""
    lineage: Lineage | None = None

    @property
    def message(self) -> str:
        """The outcome with its reasons, for a log line or for the message of a Prefect state."""
        outcome = f"{self.outcome} on {self.location}" if self.location else str(self.outcome)
        return f"{outcome}: {', '.join(self.reasons)}" if self.reasons else outcome


def split_address(address: str) -> tuple[str, str]:
    """Returns the path of the dvc.yaml in the address of a stage, empty if it names none, and the name of the stage."""
    address = address.removeprefix(":")  # `:train` is DVC's form for the dvc.yaml of the present folder
    folder, marker, name = address.partition("dvc.yaml:")  # names of stages can have a colon too: `train@a:b`
    return (f"{folder}dvc.yaml", name) if marker and (not folder or folder.endswith("/")) else ("", address)


def file_name(stage: str) -> str:
    """Returns a file name for the stage with this address; a long address is shortened, with a digest."""
    name = quote(stage, safe="", errors="surrogateescape")
    if len(name) <= MAX_FILE_NAME:
        return name
    return f"{name[: MAX_FILE_NAME - 17]}-{hashlib.sha256(stage.encode(errors='surrogateescape')).hexdigest()[:16]}"
