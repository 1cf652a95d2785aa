"""Addresses of stages, in the forms that `dvc repro` takes.

s, group, s@item          in the dvc.yaml of the folder from which the address is given, else in the project's root
path/dvc.yaml:s, :s       in another dvc.yaml, in the same one
dvc.yaml, path, ./        all stages of a dvc.yaml, which may be named by its folder
data.dvc, output          the stage of a `.dvc` file, or the one that makes the output
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import networkx as nx
from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage

from flows.core.errors import UnknownStage
from flows.engine.types import Scope, Stage, split_address

FILE = "dvc.yaml"


def stages_at(
    address: str,
    stages: Sequence[DvcStage],
    root: Path,
    folder: Path = Path(),
    *,
    glob: bool = False,
    recursive: bool = False,
) -> list[DvcStage]:
    """Return those of `stages` that have the address.

    Args:
        address: the address.
        stages: all stages of the project.
        root: the project's folder.
        folder: the folder from which the address is given, relative to `root`.
        glob: the name of a stage may have wildcards.
        recursive: a folder stands for all stages in it and in its subfolders.

    Raises:
        UnknownStage: no stage has it.
    """
    if not address:  # as of an unset variable; it would be the whole folder
        raise UnknownStage(address, [stage.addressing for stage in stages])
    path = os.path.normpath(root / folder / address)
    if recursive and Path(path).is_dir():
        found = [stage for stage in stages if Path(stage.path).is_relative_to(path)]
    else:
        found = _in_file(address, stages, root / folder, glob=glob) or _at_path(path, stages)
    found = found or _in_file(address, stages, root, glob=glob)
    if not found:
        raise UnknownStage(address, [stage.addressing for stage in stages])
    return found


def stages_in_scope(
    targets: Sequence[str], graph: "nx.DiGraph[DvcStage]", order: Sequence[DvcStage], root: Path, scope: Scope
) -> set[DvcStage]:
    """Return the stages at the addresses `targets`, all when empty, and those in their `scope`.

    Raises:
        UnknownStage: no stage has one of the addresses.
    """
    selected = [stage for target in targets for stage in stages_at(target, order, root)] or order
    if scope is Scope.SINGLE:
        return set(selected)
    reached = nx.descendants if scope is Scope.UPSTREAM else nx.ancestors  # edges lead to upstream stages
    return set(selected).union(*(reached(graph, stage) for stage in selected))


def engine_stage(stage: DvcStage, graph: "nx.DiGraph[DvcStage]", waits_for: Sequence[str]) -> Stage:
    """Return the stage as the engine knows it; `waits_for` are the names that `frozen_order` gives for it."""
    upstream = tuple(found.addressing for found in graph.successors(stage))
    outputs = tuple(str(out) for out in stage.outs)
    return Stage(stage.addressing, upstream, outputs, has_command=stage.cmd is not None, waits_for=tuple(waits_for))


def frozen_order(graph: "nx.DiGraph[DvcStage]", order: Sequence[DvcStage]) -> Mapping[DvcStage, list[str]]:
    """Return for each stage the names of those before which it may not start, because one of the two is frozen.

    DVC hashes the dependencies of a frozen stage when it records an edited output. The stages that make them then do
    not run: they start later or have ended, as in `order`, in which `dvc repro` takes the stages.

    Args:
        graph: the graph with the edges of frozen stages.
        order: the stages of the run's graph, perhaps fewer.
    """
    positions = {stage: position for position, stage in enumerate(order)}
    waits_for: dict[DvcStage, list[str]] = defaultdict(list)
    for pair in graph.edges:
        if pair[0].frozen and all(stage in positions for stage in pair):
            earlier, later = sorted(pair, key=positions.__getitem__)
            waits_for[later].append(earlier.addressing)
    return waits_for


def _in_file(address: str, stages: Sequence[DvcStage], folder: Path, *, glob: bool) -> list[DvcStage]:
    """Return the stages with the name, group or pattern in `address`, in its dvc.yaml or that of `folder`."""
    file, name = split_address(address)
    path = os.path.normpath(folder / (file or FILE))
    own = [stage for stage in stages if isinstance(stage, PipelineStage) and stage.path == path]
    named = [stage for stage in own if stage.name == name or (glob and fnmatchcase(stage.name, name))]
    return named or [stage for stage in own if stage.name.startswith(f"{name}@")]


def _at_path(path: str, stages: Sequence[DvcStage]) -> list[DvcStage]:
    """Return the stages in the file `path`, else that with an output there, else those in the dvc.yaml of a folder."""
    outputs = [(stage, str(out.fs_path)) for stage in stages for out in stage.outs]
    return (
        [stage for stage in stages if stage.path == path]
        or [stage for stage, output in outputs if path == output or path.startswith(f"{output}/")]
        or [stage for stage in stages if stage.path == f"{path}/{FILE}"]
    )
