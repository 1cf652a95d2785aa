"""`inkflow verify`: its arguments; `flows.verify` does the work."""

import argparse

from flows.arguments import Verbs, add_jobs


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "verify",
        help="run stages again in a clean folder and compare what comes out",
        description="Run stages again in a clean temporary folder, all from nothing or the named ones on what lies in "
        "the workspace, and say of each output: same bytes, same values, within tolerance or different. "
        "Ends with 1 when something is different. The workspace stays as it is.",
    )
    verb.add_argument("stages", nargs="*", metavar="STAGE", help="just these stages or groups; all by default")
    add_jobs(verb)
    verb.add_argument("--tolerance", type=float, default=1e-6, metavar="X", help="for numbers (default: 1e-6)")
    verb.add_argument("--json", action="store_true", help="print what became of each output as JSON")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.verify import verify

    return verify(arguments)
