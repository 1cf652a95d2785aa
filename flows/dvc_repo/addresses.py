"""Addresses of stages, in the forms that `dvc repro` takes.

s, group, s@item          in the dvc.yaml of the folder from which the address is given, else in the project's root
path/dvc.yaml:s, :s       in another dvc.yaml, in the same one
dvc.yaml, path, ./        all stages of a dvc.yaml, which may be named by its folder
data.dvc, output          the stage of a `.dvc` file, or the one that makes the output
"""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage

from flows.core.errors import UnknownStage
from flows.engine.types import split_address

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
