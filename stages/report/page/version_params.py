"""Parameters that differ between two versions of the project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stages.base.config import read_yaml
from stages.report.page.lookup import flatten


class ChangedParam(NamedTuple):
    """A parameter with its values as text; None where the version does not have it."""

    name: str  # nested keys joined by dots
    old: str | None
    new: str | None


class ChangedParams(NamedTuple):
    """The parameters that differ, with the names of both versions."""

    old: str
    new: str
    rows: list[ChangedParam]


def changed_params(old: Path, new: Path) -> list[ChangedParam]:
    """Returns what differs between the files params.yaml of the projects `old` and `new`, in the order of the new one.

    Raises:
        ParamsError: a file is missing or is not valid YAML.
    """
    before, after = (flatten(_with_leaves(read_yaml(root / "params.yaml"))) for root in (old, new))
    names = dict.fromkeys((*after, *before))
    changed = [name for name in names if before.get(name) != after.get(name)]

    def is_filled(name: str) -> bool:
        """Returns whether `name` is an empty section in one version, of which the other has parameters."""
        is_empty = {before.get(name), after.get(name)} == {"{}", None}
        return is_empty and any(other.startswith(f"{name}.") for other in changed)

    return [ChangedParam(name, before.get(name), after.get(name)) for name in changed if not is_filled(name)]


def _with_leaves(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `params` with null and empty mappings as texts, as YAML writes them, so that they can differ."""
    return {key: _with_leaf(value) for key, value in params.items()}


def _with_leaf(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _with_leaves(value) or "{}"
    return "null" if value is None else value
