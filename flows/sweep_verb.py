"""`inkflow sweep`: its arguments; `flows.sweep` does the work."""

import argparse

from flows.arguments import Verbs, add_jobs, add_stages, path_here


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "sweep",
        help="try combinations of parameters, each as a DVC experiment",
        description="Try combinations of parameters side by side, each recorded as a DVC experiment "
        "(`dvc exp show`, `dvc exp apply NAME`). The workspace stays as it is.",
    )
    add_stages(verb)
    verb.add_argument("--grid", action="append", default=[], metavar="KEY=V1,V2", help="each value, with all others")
    verb.add_argument("--list", action="append", default=[], metavar='"KEY=V KEY2=V"', help="one combination")
    verb.add_argument(
        "--from", type=path_here, dest="file", metavar="FILE", help="one combination on each line of a file"
    )
    add_jobs(verb)
    verb.add_argument("--json", action="store_true", help="print what became of each combination as JSON")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.sweep import sweep

    return sweep(arguments)
