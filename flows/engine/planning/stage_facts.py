"""The facts about a graph from which a plan is made: recorded hashes, present hashes, changes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flows.engine.environment.grades import Difference
from flows.engine.planning.change_messages import ABSENT, ALWAYS, NEVER_RUN, OTHER_RESULT, Change, value_changes
from flows.engine.types import Stage

Hashes = Mapping[str, str]  # DVC's content hash by path, with the executable bit if it is a `FileHash`


class FileHash(str):
    """A content hash with the executable bit of the file, which is part of a run-cache key of DVC.

    Hashes with different bits are equal: DVC does not run a stage again for the bit alone.
    """

    is_executable: bool

    def __new__(cls, value: str, *, is_executable: bool = False) -> "FileHash":
        """Add the bit to the hash `value`."""
        self = super().__new__(cls, value)
        self.is_executable = is_executable
        return self


def is_executable(value: str) -> bool:
    """Returns whether a content hash is of an executable file."""
    return isinstance(value, FileHash) and value.is_executable


@dataclass(frozen=True)
class Dependency:
    """A dependency of a stage that other stages produce, as a whole or in part.

    The content of a file or folder is its hash; that of parameters is a JSON object of their values.

    Attributes:
        path: path of the file or folder.
        producers: names of the stages that produce it.
        recorded: its content in dvc.lock; None if it has no record.
        present: its content in the workspace; None if it does not exist.
        parameters: names of the parameters that are read from the file, empty for all; None for a file or folder.
    """

    path: str
    producers: tuple[str, ...]
    recorded: str | None
    present: str | None
    parameters: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """The key in the contents of a stage's dependencies: a file can be read as a file and for its parameters."""
        return self.path if self.parameters is None else f"{self.path}:{','.join(self.parameters)}"

    def content(self, cache: "Cache", outputs: "Hashes") -> str | None:
        """Returns the content once `outputs` are in the workspace; None if it is unknown."""
        composed = cache.composed(self.path, outputs)
        if composed is None or self.parameters is None:
            return composed
        return cache.parameters(self.path, composed, self.parameters)

    def changes(self, content: str | None) -> Iterator[Change]:
        """Yields the changes against the record if the content is `content`."""
        if content is not None and self.recorded is not None and self.parameters is not None:
            old, new = json.loads(self.recorded), json.loads(content)
            for name in dict.fromkeys([*old, *new, *self.parameters]):
                yield from value_changes(name, old.get(name, ABSENT), new.get(name, ABSENT))
        elif content != self.recorded:
            yield Change(self.path, "deleted" if content is None else "modified")


@dataclass(frozen=True)
class CosmeticChange:
    """A change of a code dependency in comments, docstrings and formatting alone.

    Attributes:
        path: path of the file or folder.
        files: the changed files.
        recorded: its hash in dvc.lock.
        present: its hash in the workspace.
    """

    path: str
    files: tuple[str, ...]
    recorded: str
    present: str


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
        uncached: paths of the outputs that DVC's cache does not keep (`cache: false`).
        always: the stage runs each time, even without changes.
        tracked: the stage never runs: its outputs are data that DVC only tracks, or it is frozen.
        differences: how the environment of its recorded outputs differs from the present one.
        cosmetic: changes of its code that change no output; `own` has one entry for all of them.
        renewed: an import that a run brings from its source; its outputs are unknown until then.
    """

    stage: Stage
    own: tuple[Change, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    outputs: tuple[Change, ...] = ()
    recorded: Hashes = field(default_factory=dict)
    present: Hashes = field(default_factory=dict)
    uncached: tuple[str, ...] = ()
    always: bool = False
    tracked: bool = False
    cosmetic: tuple[CosmeticChange, ...] = ()
    renewed: bool = False
    differences: tuple[Difference, ...] = ()

    @property
    def environment(self) -> tuple[Change, ...]:
        """The differences of the environment that are reasons to run."""
        reasons = [item for item in self.differences if item.policy == "rerun"]
        return tuple(Change(item.name, f"{item.recorded} → {item.present}") for item in reasons)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes against the record, with the dependencies as they are in the workspace."""
        return self.changes_with({item: item.present for item in self.dependencies})

    def changes_with(self, contents: Mapping[Dependency, str | None]) -> tuple[Change, ...]:
        """Returns all changes against the record if the dependencies have the hashes `contents`."""
        if NEVER_RUN in self.own:
            return (NEVER_RUN,)
        edited = [change for item, content in contents.items() for change in item.changes(content)]
        always = [ALWAYS] if self.always else []
        return (*always, *self.own, *edited, *self.environment, *self.outputs)

    def changes_when_restored(self, changes: tuple[Change, ...], outputs: Hashes) -> tuple[Change, ...]:
        """Returns why a stage with `changes` is restored to `outputs`, which can be another result for equal inputs."""
        is_other = outputs != self.recorded and outputs.keys() == self.recorded.keys()
        return (OTHER_RESULT,) if is_other and changes == self.outputs else changes


def nothing_to_do(facts: Sequence[Facts]) -> bool:
    """True if no stage has changes against its record."""
    return all(not stage.changes for stage in facts)


class Cache(Protocol):
    """The part of DVC's cache that a plan uses."""

    def restorable(self, stage: str, dependencies: Hashes) -> Hashes | None:
        """Returns the hashes of the cached outputs of `stage` for these dependencies; None if the cache lacks them."""

    def composed(self, path: str, outputs: Hashes) -> str | None:
        """Returns the hash of `path` once `outputs` are in the workspace; None if it cannot be computed.

        Raises:
            FileNotFoundError: the list of files of a folder in `outputs` is not available.
        """

    def parameters(self, path: str, content: str, names: Sequence[str]) -> str | None:
        """Returns the parameters `names` in the version of `path` with the hash `content`; None if it has no copy."""
