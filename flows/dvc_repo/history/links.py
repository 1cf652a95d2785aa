"""The links of a dvc.lock: which stage makes the files that another one reads, and results made from other files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from flows.dvc_repo.change_detection import folder_hash

Listed = Callable[[str], Mapping[str, str] | None]  # hashes by path of the files in the folder with a hash, if known

EMPTY = folder_hash({})
MAX_FILES = 5000  # in a folder: larger ones are not compared file by file, since there may be thousands of versions


@dataclass
class Stage:
    """A stage as dvc.lock records it, with paths below the project's folder.

    Attributes:
        deps: hashes of the files that it read, by path.
        outs: those of the files that it made.
        command: its command.
        params: text; equal for equal parameters.
        forms: the form of each hash, by path: hashes of two forms cannot be compared.
        counts: the number of files in each folder, by path.
    """

    deps: Mapping[str, str]
    outs: Mapping[str, str]
    command: str
    params: str
    forms: Mapping[str, str] = field(default_factory=dict, compare=False)
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)


def no_lists(digest: str) -> None:
    """Knows the files of no folder."""


def folder_lists(cached: Callable[[str], Path | None]) -> Listed:
    """Returns the function that reads the lists of folders from DVC's cache."""

    @cache
    def listed(digest: str) -> Mapping[str, str] | None:
        path = cached(digest)
        try:
            items = json.loads(path.read_bytes()) if path else None
            return None if items is None else {str(item["relpath"]): str(item["md5"]) for item in items}
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    return listed


class Links:
    """The stages of a dvc.lock by the files that they exchange.

    Attributes:
        stages: by name.
        makers: the stage that makes an output, by its path.
    """

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self.stages = stages
        self.makers = {out: name for name, stage in stages.items() for out in stage.outs}
        self._inside: dict[str, list[str]] = {}  # by folder: the outputs in it
        for out in self.makers:
            for folder in _folders(out):
                self._inside.setdefault(folder, []).append(out)
        self._made: dict[str, list[str]] = {}  # by output: its hashes; of two where dvc.lock has a removed stage too
        for stage in stages.values():
            for out, digest in stage.outs.items():
                self._made.setdefault(out, []).append(digest)

    def maker_of(self, path: str) -> str:
        """Returns the stage that makes the file `path`, also within a folder; empty if none does."""
        return next((self.makers[out] for out in (path, *_folders(path)) if out in self.makers), "")

    def upstream(self, stage: str) -> dict[str, list[str]]:
        """Returns the outputs of other stages that a stage reads, by the path under which it names them."""
        found = {}
        for path in self.stages[stage].deps:
            related = [*_folders(path), path, *self._inside.get(path, ())]
            outs = [out for out in related if self.makers.get(out, stage) != stage]
            if outs:
                found[path] = outs
        return found

    def makers_before(self, stage: str) -> list[str]:
        """Returns the stages whose outputs a stage reads."""
        return list(dict.fromkeys(self.makers[out] for outs in self.upstream(stage).values() for out in outs))

    def broken(self, stage: str, listed: Listed = no_lists) -> list[str]:
        """Returns the paths that a stage read with another content than their stages have recorded.

        Contents that dvc.lock and `listed` do not tell count as equal: those without a hash, with hashes of two forms,
        and those of a folder that has other files than the stages' outputs.
        """
        return [path for path, outs in self.upstream(stage).items() if self._is_other(stage, path, outs, listed)]

    def outdated(self, listed: Listed = no_lists) -> dict[str, str]:
        """Returns the stages whose results are of other files than dvc.lock has now, each with the reason.

        Stages that depend on such a stage are among them.
        """
        read = {stage: paths[0] for stage in self.stages if (paths := self.broken(stage, listed))}
        found = {stage: f"read another {path} than dvc.lock has now" for stage, path in read.items()}
        readers: dict[str, list[str]] = {}
        for stage in self.stages:
            for maker in self.makers_before(stage):
                readers.setdefault(maker, []).append(stage)
        causes = {stage: f"depends on {stage}, which {reason}" for stage, reason in found.items()}
        waiting = list(found)
        for maker in waiting:
            for stage in readers.get(maker, ()):
                if stage not in found:
                    found[stage] = causes[stage] = causes[maker]
                    waiting.append(stage)
        return found

    def _is_other(self, stage: str, path: str, outs: Sequence[str], listed: Listed) -> bool:
        """Returns whether a stage is known to have read another `path` than the outputs `outs` have there."""
        own = self.stages[stage]
        hashes = {out: self.stages[self.makers[out]].outs[out] for out in outs}
        forms = {self.stages[self.makers[out]].forms.get(out, "") for out in outs}
        recorded = own.deps[path]
        if not recorded or forms != {own.forms.get(path, "")}:
            return False
        if path in hashes:
            return all(self._made[path]) and recorded not in self._made[path]
        folder = next((out for out in outs if path.startswith(f"{out}/")), "")
        if folder:
            present = _hash_inside(listed(hashes[folder]), path.removeprefix(f"{folder}/"))
        else:
            present = _hash_around(hashes, listed, path, own.counts.get(path, 0))
        return present is not None and present != recorded


def _folders(path: str) -> Iterator[str]:
    """Yields the folders that a path lies in, the innermost first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _hash_inside(files: Mapping[str, str] | None, name: str) -> str | None:
    """Returns the hash of the file or folder `name` in a folder with these files; None if it is not known."""
    if files is None or name in files:
        return files[name] if files else None
    inside = {path.removeprefix(f"{name}/"): value for path, value in files.items() if path.startswith(f"{name}/")}
    return folder_hash(inside) if 0 < len(inside) <= MAX_FILES else None


def _hash_around(hashes: Mapping[str, str], listed: Listed, folder: str, count: int) -> str | None:
    """Returns the hash of a folder of outputs; None if it is not known that these are all of its `count` files."""
    if not 0 < count <= MAX_FILES:
        return None
    found: dict[str, str] = {}
    for out, digest in hashes.items():
        name = out.removeprefix(f"{folder}/")
        files = {"": digest} if not digest.endswith(".dir") else {} if digest == EMPTY else listed(digest)
        if files is None:
            return None
        found |= {f"{name}/{path}".rstrip("/"): value for path, value in files.items()}
    return folder_hash(found) if len(found) == count and all(found.values()) else None
