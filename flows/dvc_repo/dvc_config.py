"""Writes DVC's local settings in a clone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configobj import ConfigObj  # type: ignore[import-untyped]  # DVC's own parser of its settings

from stages.base.files import replacing

NAMED = ("remote", "machine", "db")  # sections that have a name: ['remote "store"']


def write_local_config(project: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings` as the local settings of the project, in UTF-8: DVC itself can write paths in ASCII alone.

    Only this user can read the file: it may have credentials of remotes.

    Args:
        project: the folder of the DVC project.
        settings: sections in the form of `dvc.config.Config`, with absolute paths.

    Raises:
        OutputError: the file cannot be written.
    """
    config = ConfigObj(encoding="utf-8")
    for section, content in settings.items():
        if section in NAMED:
            config.update({f'{section} "{name}"': dict(options) for name, options in content.items()})
        elif content:
            config[section] = dict(content)
    with replacing(project / ".dvc" / "config.local") as temporary:  # git may track no file of the folder
        temporary.chmod(0o600)
        with temporary.open("wb") as file:
            config.write(file)
