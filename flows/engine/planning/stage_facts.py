"""What DVC knows of a graph at one moment: all that a plan is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flows.engine.planning.change_messages import ALWAYS, NEVER_RUN, Change
from flows.engine.types import Stage

Hashes = Mapping[str, str]  # content hash by path, as DVC names both


@dataclass(frozen=True)
class Dependency:
    """Something that a stage reads and that other stages make, wholly or in part."""

    path: str
    producers: tuple[str, ...]
    recorded: str | None
    present: str | None

    def change(self, content: str | None) -> Change | None:
        """What is different from the record when its content is `content`; None when nothing is."""
        if content == self.recorded:
            return None
        return Change(self.path, "deleted" if content is None else "modified")


@dataclass(frozen=True)
class Facts:
    """One stage as it stands: recorded in dvc.lock, and present in the workspace.

    Attributes:
        own: what changed that no other stage makes: parameters, the command, files of the project.
        outputs: what changed of its outputs: missing, edited, not in the cache.
        recorded: hash of each output in dvc.lock.
        present: hash of each output in the workspace, for what DVC only tracks and for frozen stages.
        always: it runs each time, whatever changed.
        tracked: its outputs are data that nobody makes, or it is frozen: it is never run.
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
        """All that is not as recorded, taking what other stages make as it lies there."""
        return self.changes_with({item: item.present for item in self.dependencies})

    def changes_with(self, contents: Mapping[Dependency, str | None]) -> tuple[Change, ...]:
        """All that is not as recorded when what other stages make has these `contents`."""
        if NEVER_RUN in self.own:
            return (NEVER_RUN,)
        edited = [item.change(content) for item, content in contents.items()]
        ran = [ALWAYS] if self.always else []
        return (*ran, *self.own, *filter(None, edited), *self.outputs)


def nothing_to_do(facts: Sequence[Facts]) -> bool:
    """True when every stage is as recorded."""
    return all(not stage.changes for stage in facts)


class Cache(Protocol):
    """The questions that a plan asks of DVC's cache."""

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Hash of each output that the cache holds of `stage` for these dependencies; None when it holds none."""

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Hash that `path` will have once `outputs` lie in the workspace; None when that cannot be told."""
