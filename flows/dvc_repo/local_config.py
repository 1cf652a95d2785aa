"""Writes DVC's local configuration of a clone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configobj import ConfigObj  # type: ignore[import-untyped]

NAMED_SECTIONS = ("remote", "machine", "db")  # sections with a name: `remote "store"`


def write_local_config(project: Path, config: Mapping[str, Any]) -> None:
    """Write `config` to .dvc/config.local of `project`, as UTF-8: DVC itself writes only ASCII, and reads both."""
    sections = {name: options for name, options in config.items() if options and name not in NAMED_SECTIONS}
    for kind in NAMED_SECTIONS:
        sections |= {f'{kind} "{name}"': options for name, options in config.get(kind, {}).items()}
    content = ConfigObj(sections, encoding="utf-8")
    content.filename = str(project / ".dvc" / "config.local")
    content.write()
