"""`inkflow check`: its arguments; `flows.check` does the work."""

import argparse

from flows.arguments import Verbs, path_here


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "check",
        help="hold the models against the quality gates",
        description="Hold the models, as they lie here, against `gates` of params.yaml. Exit code 1: a gate failed.",
    )
    verb.add_argument("--json", action="store_true", help="print the judgement as JSON")
    verb.add_argument("--junit", type=path_here, metavar="FILE", help="write JUnit XML for CI")
    verb.add_argument("--against", metavar="REV", help="no model may be worse than at that commit or experiment")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.check import check

    return check(arguments)
