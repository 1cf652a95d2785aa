"""`inkflow status`: one look at what is in use, what runs and waits, and what needs a person."""

import argparse
from pathlib import Path

from flows.cli.arguments import age
from flows.cli.output import print_json
from flows.core.redaction import say
from flows.status.parts import EXIT_NEEDS_PERSON, MAX_AGE
from stages.base.errors import EXIT_DONE


def status(arguments: argparse.Namespace) -> int:
    """Prints the status, and returns 3 if something needs a person."""
    from flows.status.collect import collect  # late: `--help` needs none of its imports

    found = collect(Path(), max_age=arguments.max_age)
    if arguments.json:
        print_json(found.as_json())
    else:
        say("\n".join(found.as_lines()))
    return EXIT_NEEDS_PERSON if found.needs else EXIT_DONE


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow status`."""
    verb.description = """Show what is in use, what runs and waits, and what needs a person, which exit code 3 says too.

The Prefect server is asked for a second or two; without it, the files of the project and the last answers are shown.
"""
    verb.add_argument("--json", action="store_true", help="print JSON (docs/status.md)")
    verb.add_argument(
        "--max-age",
        type=age,
        default=MAX_AGE,
        metavar="AGE",
        help="of the last good nightly, as 12h or 7d (default: 36h); an older one needs a person",
    )
