"""What the dvc.yaml of a version says: metrics, parameters, working folders, and the names of its stages."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from posixpath import join, normpath
from typing import Any

from flows.dvc_repo.history.parsing import parse_text, parse_values

TEMPLATE = re.compile(r"\$\{\s*([^\s{}]+)\s*\}")
PLAIN = ("",)  # the only instance of a stage without `foreach`
Instances = tuple[str, ...] | str | None  # the keys of a stage, the parameter that has them, or None: not known


@dataclass(frozen=True)
class Pipeline:
    """A dvc.yaml: metrics, working folder and instances by the name of a stage; the files that it names at its top."""

    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    instances: Mapping[str, Instances] = field(default_factory=dict)
    top_metrics: tuple[str, ...] = ()
    params_files: tuple[str, ...] = ()

    def has_stage(self, name: str, params: Any) -> bool:
        """Returns whether dvc.yaml has the stage `name`; True where its templates do not tell.

        Args:
            name: the name in dvc.lock, which keeps the entries of stages that were removed.
            params: the content of params.yaml; None if it is not known.
        """
        group, _, key = name.partition("@")
        if not self.instances:
            return True
        if group not in self.instances:
            return False
        keys = self.instances[group]
        if isinstance(keys, str):
            for part in keys.split("."):
                params = params.get(part) if isinstance(params, Mapping) else None
            keys = _keys(params)
        return keys is None or key in keys


@lru_cache(maxsize=512)
def parse_pipeline(content: bytes) -> Pipeline:
    """Returns what a dvc.yaml says about metrics, parameters, folders and stages; templates stay as they are.

    Raises:
        Unreadable: it is not YAML.
    """
    top = parse_text(content, "dvc.yaml")
    stages = top.get("stages")
    metrics, folders, files = {}, {}, set(_paths(top.get("params")))
    instances: dict[str, Instances] = {}
    for name, item in stages.items() if isinstance(stages, Mapping) else ():
        instances[str(name)] = _instances(item, has_variables="vars" in top)
        stage = item.get("do", item) if isinstance(item, Mapping) else {}
        if not isinstance(stage, Mapping):
            continue
        metrics[str(name)] = tuple(_paths(stage.get("metrics")))
        if isinstance(stage.get("wdir"), str):
            folders[str(name)] = stage["wdir"]
        listed = stage.get("params")
        params = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
        files |= {normpath(join(folders.get(str(name), ""), str(key))) for entry in params for key in entry}
    return Pipeline(metrics, folders, instances, tuple(_paths(top.get("metrics"))), tuple(sorted(files)))


def _paths(items: Any) -> Iterator[str]:
    for item in items if isinstance(items, list) else [items] if isinstance(items, str) else ():
        if isinstance(item, Mapping):
            yield from map(str, item)
        elif isinstance(item, str):
            yield item


def _instances(stage: Any, *, has_variables: bool) -> Instances:
    """Returns the keys of a `foreach`; those of a matrix, and of values of other files, are not known."""
    if not isinstance(stage, Mapping) or "matrix" in stage:
        return None
    if "foreach" not in stage:
        return PLAIN
    template = TEMPLATE.fullmatch(stage["foreach"]) if isinstance(stage["foreach"], str) else None
    if template is None:
        return _keys(stage["foreach"])
    return None if has_variables else template[1]


def _keys(items: Any) -> tuple[str, ...] | None:
    """Returns the keys that DVC gives the instances of a `foreach` over these items."""
    if isinstance(items, list) and any(isinstance(item, Mapping | list) for item in items):
        return tuple(map(str, range(len(items))))
    if not isinstance(items, Mapping | list):
        return None
    names = ([str(item).lower(), str(item)] if isinstance(item, bool) else [str(item)] for item in items)
    keys = tuple(name for forms in names for name in forms)  # DVC writes `True` for one of params.yaml, else `true`
    return None if any("${" in key for key in keys) else keys


def read_params(content: bytes | None) -> Any:
    """Returns the content of a params.yaml; None for one that is missing or cannot be read."""
    try:
        return parse_values("params.yaml", content) if content is not None else None
    except ValueError:
        return None
