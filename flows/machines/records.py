"""A dvc.lock as it is compared: its stages in the order of the graph, their inputs, and who makes what they read."""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ruamel.yaml.error import YAMLError

from flows.dvc_repo.history import versions
from flows.dvc_repo.history.links import Links, Stage
from flows.dvc_repo.history.parsing import leaves, plain
from flows.machines.sources import PIPELINE, Read
from stages.base.digests import LOCK
from stages.base.errors import InvalidInput
from stages.base.yaml_text import parse_yaml

# Parameters of a model that choose a draw or the arithmetic and not the recipe: results are comparable by tests.
DRAW = re.compile(r"models\.[^.]+\.(seed|seeds|threads|precision|device)")
NO_HASH = "no hash in dvc.lock"


@dataclass(frozen=True)
class Difference:
    """A difference of what a stage was given, or of where it ran."""

    kind: str  # command, parameter, code, data, output or environment
    name: str
    here: Any
    there: Any

    @property
    def is_draw(self) -> bool:
        """Whether it chooses another random draw or arithmetic of the same recipe."""
        return self.kind == "parameter" and DRAW.fullmatch(self.name) is not None


@dataclass
class Records:
    """The stages of one dvc.lock.

    Attributes:
        stages: by name.
        commands: the command of each stage, a text or a list of texts.
        params: the parameters of each stage, by dotted key; those of other files than params.yaml as FILE:KEY.
        data: paths of inputs that no stage makes and that are data, not code.
    """

    stages: Mapping[str, Stage]
    commands: Mapping[str, Any]
    params: Mapping[str, Mapping[str, Any]]
    data: frozenset[str]

    @cached_property
    def links(self) -> Links:
        """Which stage makes the files that another one reads."""
        return Links(self.stages)

    @property
    def makers(self) -> Mapping[str, str]:
        """The stage that makes an output, by its path."""
        return self.links.makers


def read_records(read: Read, pipeline: Read, name: str, removed: Collection[str] = ()) -> Records:
    """Returns the records of the dvc.lock that `read` reads; `name` is its name in messages.

    Stages that its own dvc.yaml no longer has do not count; dvc.lock keeps their entries.

    Args:
        read: reads the file, and dvc.yaml and params.yaml if they are beside it.
        pipeline: reads the dvc.yaml, which has the working folders of stages.
        name: the name of the dvc.lock in messages.
        removed: stages that do not count where no dvc.yaml is beside the file.

    Raises:
        InvalidInput: the file cannot be read, or names no stage.
    """

    def both(path: str) -> bytes | None:
        return pipeline(path) if path == PIPELINE else read(path)

    is_alone = read(PIPELINE) is None
    version, _ = versions.stages_of(both, [""], with_removed=is_alone)
    if is_alone:
        version.stages = {stage: entry for stage, entry in version.stages.items() if stage not in removed}
    if version.problems or not version.stages:
        reason = "; ".join(version.problems) or "it names no stage; run the pipeline first"
        raise InvalidInput(f"{name} cannot be compared: {reason}")
    versions.add_sources(version, lambda _: False)
    return Records(version.stages, *_given(read(LOCK) or b"", name), frozenset(version.data))


def _given(content: bytes, name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the commands and parameters of all stages, the same ones however the YAML of a dvc.lock is written."""
    try:
        stages = {str(stage): entry for stage, entry in parse_yaml(content.decode("utf-8-sig"))["stages"].items()}
        commands = {stage: plain(entry.get("cmd")) for stage, entry in stages.items()}
        files = {stage: entry.get("params") or {} for stage, entry in stages.items()}
        return commands, {
            stage: {
                key if file == versions.PARAMS else f"{file}:{key}": value
                for file, values in each.items()
                for key, value in leaves(values, limit=math.inf).items()
            }
            for stage, each in files.items()
        }
    except (ValueError, YAMLError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(f"{name} cannot be compared: its parameters cannot be read ({reason})") from error


def order(here: Records, there: Records) -> list[str]:
    """Returns the stages of both records, each after those that it reads from.

    Raises:
        InvalidInput: the stages of one dvc.lock read from each other in a circle.
    """
    names = [name for name in here.stages if name in there.stages]
    before = {name: {*here.links.makers_before(name), *there.links.makers_before(name)} for name in names}
    try:
        return [name for name in TopologicalSorter(before).static_order() if name in before]
    except CycleError as error:
        raise InvalidInput(f"a dvc.lock has stages that read from each other: {' → '.join(error.args[1])}") from error


def input_differences(stage: str, here: Records, there: Records) -> list[Difference]:
    """Returns how the own inputs of a stage differ: command, parameters, code, data, and the names of its outputs.

    Outputs that the same stages make on both sides are no inputs of its own.
    """
    commands = here.commands.get(stage), there.commands.get(stage)
    found = [Difference("command", "command", *commands)] if commands[0] != commands[1] else []
    ours, theirs = here.params.get(stage, {}), there.params.get(stage, {})
    found += [
        Difference("parameter", key, ours.get(key, "none"), theirs.get(key, "none"))
        for key in dict.fromkeys([*ours, *theirs])
        if key not in ours or key not in theirs or not _same(ours[key], theirs[key])
    ]
    found += _differing_files(stage, here, there)
    one, other = here.stages[stage].outs, there.stages[stage].outs
    for path in dict.fromkeys([*one, *other]):
        if (path in one) != (path in other):
            sides = ["an output" if path in side else "none" for side in (one, other)]
            found.append(Difference("output", path, *sides))
    return found


def _differing_files(stage: str, here: Records, there: Records) -> Iterator[Difference]:
    """Yields the files that a stage read and that differ, or of which one side has no hash."""
    one, other = here.stages[stage].deps, there.stages[stage].deps
    makers = [
        {path: {side.makers[out] for out in outs} for path, outs in side.links.upstream(stage).items()}
        for side in (here, there)
    ]
    data = here.data | there.data | makers[0].keys() | makers[1].keys()
    for path in dict.fromkeys([*one, *other]):
        sides = one.get(path, "none"), other.get(path, "none")
        is_made = path in makers[0] and makers[0][path] == makers[1].get(path)
        if not is_made and (sides[0] != sides[1] or not all(sides)):
            yield Difference("data" if path in data else "code", path, *(side or NO_HASH for side in sides))


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
