"""`inkflow compare`: its arguments; `flows.compare` does the work."""

import argparse

from flows.arguments import Verbs


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser(
        "compare",
        help="two commits or experiments side by side",
        description="Compare the models of two versions on the same test images: a table here, and a page.",
    )
    verb.add_argument("old", metavar="REV", help="a commit, branch, tag or experiment")
    verb.add_argument("new", metavar="REV2", nargs="?", help="another one; the files as they lie here by default")
    verb.add_argument("--json", action="store_true", help="print the comparison as JSON")
    verb.add_argument("--open", action="store_true", help="open the page in the browser")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    from flows.compare import show_comparison

    return show_comparison(arguments)
