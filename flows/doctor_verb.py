"""`inkflow doctor`: its arguments; what it does is loaded when it is called."""

import argparse

from flows.arguments import Verbs


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "doctor",
        help="check this machine, and say how to mend what is missing",
        description="Check Python, packages, GPU, Prefect's server, DVC's remote, the data set and the disk. "
        "Exit code 1: something has to be mended before a run.",
    )
    verb.add_argument("--json", action="store_true", help="print what was found as JSON")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.doctor import doctor  # late: `inkflow --help` must answer at once

    return doctor(arguments)
