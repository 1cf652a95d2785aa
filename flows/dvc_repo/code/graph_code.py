"""Reads from DVC's graph what `inkflow deps` compares: commands, folders, declared files, expressions of templates."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.parsing import JOIN
from dvc.stage import PipelineStage
from dvc.stage import Stage as DvcStage

from flows.dvc_repo.change_detection import is_in_project, path_of
from flows.engine.processes.files_in_use import overlap
from flows.python_code.stage_code import StageCode


def stage_code(stage: DvcStage) -> StageCode | None:
    """Return the code of a stage; None for tracked data and for stages of single files, which have no dvc.yaml."""
    if not isinstance(stage, PipelineStage) or not stage.cmd:
        return None
    commands = stage.cmd if isinstance(stage.cmd, list) else [stage.cmd]
    lines = [line for command in commands for line in command.replace("\\\n", " ").splitlines()]
    group = getattr(stage.raw_data, "generated_from", None)
    return StageCode(
        name=stage.addressing,
        file=os.path.relpath(stage.path, stage.repo.root_dir),
        entry=group or stage.name,
        folder=Path(stage.wdir).resolve(),
        lines=tuple(lines),
        listed=tuple(
            path_of(dep) if is_in_project(dep) else "" for dep in stage.deps if not isinstance(dep, ParamsDependency)
        ),
        variables=_variables(stage, group) if group else {},
    )


def may_be_declared(stages: Sequence[DvcStage], folder: str) -> bool:
    """Return True if a stage may depend on `folder`: no stage writes into it, and DVC ignores Python's caches there."""
    repo = stages[0].repo
    path = str(Path(repo.root_dir) / folder)
    is_written = any(overlap(path, str(out.fs_path)) for stage in stages for out in stage.outs)
    return not is_written and bool(repo.dvcignore.is_ignored_dir(os.path.join(path, "__pycache__")))  # noqa: PTH118


def _variables(stage: PipelineStage, group: str) -> dict[str, str]:
    """Return the expressions that a stage of a template can use, with their values: `${item}`, `${key}`."""
    definition: Any = stage.dvcfile.resolver.definitions[group]
    key = stage.name.removeprefix(f"{group}{JOIN}")
    value = definition.normalized_iterable[key]
    is_list = hasattr(definition, "foreach_data") and not isinstance(definition.resolved_iterable, Mapping)
    names = {} if is_list else {"${key}": key}
    fields = {f"${{item.{name}}}": item for name, item in value.items()} if isinstance(value, Mapping) else {}
    plain = {name: _text(item) for name, item in (fields or {"${item}": value}).items()}
    return {name: text for name, text in {**names, **plain}.items() if text}


def _text(value: object) -> str:
    """Return a value as DVC writes it into a path; empty for one that is no text or number."""
    value = getattr(value, "value", value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
