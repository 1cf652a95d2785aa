"""The page of `dvc plots show` and `dvc plots diff`: a template with its JavaScript inside, named in DVC's settings.

Both are of this machine alone: git ignores `.dvc/config.local` and `.dvc/tmp`.
"""

from pathlib import Path

from configobj import ConfigObj, ConfigObjError  # type: ignore[import-untyped]  # DVC's own parser of its settings
from dvc.config import Config, ConfigError

from stages.base.errors import InvalidInput
from stages.base.files import replacing

SECTION, KEY = "plots", "html_template"
# Relative to `.dvc`. Where the file is missing, DVC takes its path for the template and requires `{plot_divs}` in it:
# with this name `dvc plots` then writes a page that loads its scripts, as without the setting, instead of failing.
TEMPLATE = "tmp/inkflow/{scripts}{plot_divs}.html"


def configured_template(root: Path) -> str | None:
    """Returns DVC's setting `plots.html_template` in the project at `root`; None without one.

    Raises:
        InvalidInput: DVC's settings cannot be read.
    """
    try:
        value = Config(str(root / ".dvc"), validate=False).get(SECTION, {}).get(KEY)
    except ConfigError as error:
        raise InvalidInput(f"DVC's settings cannot be read: {error}; correct them") from error
    return None if value is None else str(value)


def name_template(root: Path) -> None:
    """Sets `plots.html_template` in the project's local settings; their other lines, comments and rights stay.

    Raises:
        InvalidInput: they cannot be read.
        OutputError: they cannot be written.
    """
    path = (root / ".dvc" / "config.local").resolve()
    try:
        config = ConfigObj(str(path) if path.exists() else None, encoding="utf-8", interpolation=False)
    except (ConfigObjError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}; correct it") from error
    config.setdefault(SECTION, {})[KEY] = TEMPLATE
    with replacing(path) as temporary:
        if path.exists():
            temporary.chmod(path.stat().st_mode)  # passwords of remotes may be in it
        with temporary.open("wb") as file:
            config.write(file)
