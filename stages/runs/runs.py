"""Reads the facts about all versions of a project and writes the page.

python -m stages.runs --facts .inkflow/report/runs.json --out .inkflow/report/runs.html
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.base.errors import EXIT_DONE, DataError
from stages.base.files import write_text
from stages.runs.content import page_content
from stages.runs.page import render_page

FORM = 1


def read_facts(path: Path) -> dict[str, Any]:
    """Returns the facts in the file `path`.

    Raises:
        DataError: it is missing, is not JSON, or was written by another version of Inkflow.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); `inkflow report --runs` writes it") from error
    if not isinstance(facts, dict) or facts.get("form") != FORM:
        raise DataError(f"{path}: was written by another version of Inkflow; `inkflow report --runs` writes it again")
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page over all versions of a project."""
    parser = argparse.ArgumentParser(prog="python -m stages.runs", description=main.__doc__)
    parser.add_argument("--facts", type=Path, required=True, help="file that `inkflow report --runs` collected")
    parser.add_argument("--out", type=Path, required=True, help="the page")
    arguments = parser.parse_args(argv)
    write_text(arguments.out, render_page(page_content(read_facts(arguments.facts))))
    return EXIT_DONE
