"""`inkflow plots`: makes the page of `dvc plots show` and `dvc plots diff` work without a network."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from flows.core.redaction import say
from flows.core.stage_program import run_program
from flows.dvc_repo.plots_page import TEMPLATE, configured_template, name_template
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import write_text

LIBRARY = "vl_convert"


def plots(arguments: argparse.Namespace) -> int:
    """Writes the template and names it in DVC's local settings; returns the exit code.

    Raises:
        InvalidInput: the project has a template of its own.
        MissingPackage: the library that has the JavaScript is not installed.
        OutputError: a file cannot be written.
    """
    if (other := configured_template(Path())) not in (None, TEMPLATE):
        raise InvalidInput(
            f"plots.html_template is {other}, a template of your own, which is kept; to use the one of Inkflow, call "
            "`dvc config --unset plots.html_template` (or with --local, --global) and then `inkflow plots`"
        )
    write_template(Path())
    say("`dvc plots show` and `dvc plots diff` now write pages that need no network")
    return EXIT_DONE


def lacks_template(root: Path) -> bool:
    """Returns True if the library is installed, and the project at `root` has neither this template nor another.

    Raises:
        InvalidInput: DVC's settings cannot be read.
    """
    if find_spec(LIBRARY) is None:
        return False
    value = configured_template(root)
    return value is None or (value == TEMPLATE and not (root / ".dvc" / TEMPLATE).is_file())


def write_template(root: Path) -> None:
    """Writes the template of the project at `root`, and names it in DVC's local settings afterwards."""
    write_text(root / ".dvc" / TEMPLATE, run_program("charts.dvc_plots", [], root, own=True))
    if configured_template(root) is None:
        name_template(root)
