"""`inkflow report`: its arguments; `flows.report` does the work."""

import argparse

from flows.arguments import Verbs


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    said = "the report with this machine's timings and the commit"
    verb = verbs.add_parser("report", help=said, description=f"Write {said} to .inkflow/report/index.html.")
    verb.add_argument("--open", action="store_true", help="open it in the browser")
    verb.add_argument("--json", action="store_true", help="print this machine's figures as JSON")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.report import report

    return report(arguments)
