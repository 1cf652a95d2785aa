"""Reads the entries of a dvc.lock of any commit: a part may be missing, as in one that was committed cut short."""

from typing import Any

from stages.base.yaml_text import parse_yaml


def lock_entries(text: str) -> dict[str, dict[str, Any]]:
    """Returns the entries of stages by name: `deps` and `outs` have the items with a path, `params` is a mapping.

    Raises:
        YAMLError, ValueError: the text is not YAML.
    """
    return {str(name): _whole(entry) for name, entry in _mapping(_mapping(parse_yaml(text)).get("stages")).items()}


def _whole(entry: Any) -> dict[str, Any]:
    found = _mapping(entry)
    sides = {side: found.get(side) for side in ("deps", "outs")}
    files = {
        side: [item for item in items if isinstance(item, dict) and isinstance(item.get("path"), str)]
        for side, items in sides.items()
        if isinstance(items, list)
    }
    return found | {"deps": [], "outs": [], "params": _mapping(found.get("params"))} | files


def _mapping(content: Any) -> dict[Any, Any]:
    return content if isinstance(content, dict) else {}
