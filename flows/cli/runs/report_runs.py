"""`inkflow report --runs`: collects the facts of all versions and lets `stages.runs` write the page of them."""

import argparse
from pathlib import Path
from typing import Any

from flows.cli.output import open_page, print_json
from flows.core.project import make_state_folder
from flows.core.redaction import mask_content, say
from flows.core.stage_program import run_program
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import write_json

FACTS = Path(".inkflow/report/runs.json")
PAGE = Path(".inkflow/report/runs.html")


def report_runs(arguments: argparse.Namespace) -> int:
    """Writes the page of all versions of any DVC project, or prints its facts, and returns the exit code.

    Raises:
        RevisionUnusable: the project has no versions, or none with the name of the baseline.
    """
    if arguments.json and arguments.open:
        raise InvalidInput("--json prints the facts and writes no page, so --open has nothing to open; leave one out")
    facts = collect(Path(), arguments.limit, arguments.baseline)
    if arguments.json:
        print_json(facts)
        return EXIT_DONE
    say(str(write_page(Path(), facts)))
    if arguments.open:
        open_page(PAGE)
    return EXIT_DONE


def collect(root: Path, limit: int | None = None, baseline: str | None = None) -> dict[str, Any]:
    """Returns the facts of the project in `root`; `baseline` names the version with which all others are compared."""
    from flows.dvc_repo.history.facts import DEFAULT_LIMIT, read_facts, resolve  # late: DVC takes 0.5 s to import

    facts = read_facts(root, limit or DEFAULT_LIMIT)
    facts["baseline"] = resolve(root, facts, baseline) if baseline else ""
    return facts


def write_page(root: Path, facts: dict[str, Any]) -> Path:
    """Writes the page of `facts`, and returns its path below `root`."""
    make_state_folder(root)
    write_json(root / FACTS, mask_content(facts))  # parameters and messages of commits can hold secrets
    run_program("runs", ["--facts", FACTS, "--out", PAGE], root)
    return PAGE
