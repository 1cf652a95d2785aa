"""Writes DVC's local settings in a clone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configobj import ConfigObj  # type: ignore[import-untyped]  # DVC's own parser of its settings

NAMED = ("remote", "machine", "db")  # sections that have a name: ['remote "store"']


def write_local_config(project: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings` as the local settings of the project, in UTF-8: DVC itself can write paths in ASCII alone.

    Args:
        project: the folder of the DVC project.
        settings: sections in the form of `dvc.config.Config`, with absolute paths.
    """
    config = ConfigObj(encoding="utf-8")
    for section, content in settings.items():
        if section in NAMED:
            config.update({f'{section} "{name}"': dict(options) for name, options in content.items()})
        elif content:
            config[section] = dict(content)
    (project / ".dvc").mkdir(exist_ok=True)  # git may track no file in it
    with (project / ".dvc" / "config.local").open("wb") as file:
        config.write(file)
