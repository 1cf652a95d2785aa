"""`inkflow plan`: its arguments; `flows.show_plan` does the work."""

import argparse

from flows.arguments import Verbs, add_stages


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "plan",
        help="what would run, be restored, or stay, and why",
        description="Say what would run, be restored from the cache, or stay, and why. Runs nothing.",
    )
    add_stages(verb)
    verb.add_argument("--force", action="store_true", help="plan for `run --force`")
    verb.add_argument("--pull", action="store_true", help="plan for `run --pull`: count what the DVC remote holds too")
    verb.add_argument("--json", action="store_true", help="print the plan as JSON")
    verb.add_argument("--exit-code", action="store_true", help="end with 0 when there is nothing to do, with 3 else")
    verb.add_argument(
        "--recorded", action="store_true", help="take outputs as dvc.lock has them: a clone needs no data"
    )
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.show_plan import show_plan

    return show_plan(arguments)
