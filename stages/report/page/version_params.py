"""Parameters that differ between two versions of the project."""

from pathlib import Path
from typing import NamedTuple

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
    before, after = (flatten(read_yaml(root / "params.yaml")) for root in (old, new))
    names = dict.fromkeys((*after, *before))
    return [
        ChangedParam(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    ]
