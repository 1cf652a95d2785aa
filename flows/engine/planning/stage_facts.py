"""The facts about a graph from which a plan is made: recorded hashes, present hashes, changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flows.engine.planning.change_messages import ALWAYS, NEVER_RUN, Change
from flows.engine.types import Stage

Hashes = Mapping[str, str]  # DVC's content hash by path


@dataclass(frozen=True)
class Dependency:
    """A dependency of a stage that other stages produce, as a whole or in part.

    Attributes:
        path: path of the file or folder.
        producers: names of the stages that produce it.
        recorded: its hash in dvc.lock; None if it has no record.
        present: its hash in the workspace; None if it does not exist.
    """

    path: str
    producers: tuple[str, ...]
    recorded: str | None
    present: str | None

    def change(self, content: str | None) -> Change | None:
        """Returns the change against the record if the hash is `content`; None if they are equal."""
        if content == self.recorded:
            return None
        return Change(self.path, "deleted" if content is None else "modified")


@dataclass(frozen=True)
class Facts:
    """The facts about one stage.

    Attributes:
        stage: the stage.
        own: changes of parameters, of the command, and of files that no stage produces.
        dependencies: the files that other stages produce.
        outputs: changes of its outputs: missing, edited, not in the cache.
        recorded: hash of each output in dvc.lock.
        present: hash of each output in the workspace, for tracked data and frozen stages.
        always: the stage runs each time, even without changes.
        tracked: the stage never runs: its outputs are data that DVC only tracks, or it is frozen.
    """

    stage: Stage
    own: tuple[Change, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    outputs: tuple[Change, ...] = ()
    recorded: Hashes = field(default_factory=dict)
    present: Hashes = field(default_factory=dict)
    always: bool = False
    tracked: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes against the record, with the dependencies as they are in the workspace."""
        return self.changes_with({item: item.present for item in self.dependencies})

    def changes_with(self, contents: Mapping[Dependency, str | None]) -> tuple[Change, ...]:
        """Returns all changes against the record if the dependencies have the hashes `contents`."""
        if NEVER_RUN in self.own:
            return (NEVER_RUN,)
        edited = [item.change(content) for item, content in contents.items()]
        always = [ALWAYS] if self.always else []
        return (*always, *self.own, *filter(None, edited), *self.outputs)


def nothing_to_do(facts: Sequence[Facts]) -> bool:
    """True if no stage has changes against its record."""
    return all(not stage.changes for stage in facts)


class Cache(Protocol):
    """The part of DVC's cache that a plan uses."""

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Returns the hashes of the cached outputs of `stage` for these dependencies; None if the cache lacks them."""

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Returns the hash of `path` once `outputs` are in the workspace; None if it cannot be computed."""
