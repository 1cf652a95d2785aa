"""What a stage made of what: the hashes and sizes that DVC recorded."""

from collections.abc import Iterable
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.stage import Stage as DvcStage

from flows.dvc_repo.change_detection import path_of, value_of
from flows.engine.types import Content, Lineage


def lineage_of(stage: DvcStage) -> Lineage:
    """Return the contents of a recorded stage; parameters are no files of their own and are left out."""
    return Lineage(_contents(stage.outs), _contents(dep for dep in stage.deps if not isinstance(dep, ParamsDependency)))


def _contents(entries: Iterable[Any]) -> tuple[Content, ...]:
    return tuple(
        Content(
            path_of(entry),
            value_of(entry.hash_info),
            meta.size if (meta := getattr(entry, "meta", None)) else None,  # `ds://` has none
        )
        for entry in entries
    )
