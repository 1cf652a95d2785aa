"""`inkflow run`: its arguments; `flows.run` does the work."""

import argparse
import gc

from flows.arguments import Verbs, add_jobs, add_stages


def register(verbs: Verbs) -> None:
    """Add the verb to the `verbs` of a parser."""
    verb = verbs.add_parser("run", help="bring the stages up to date", description="Bring the stages up to date.")
    add_stages(verb)
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="edit params.yaml first")
    verb.add_argument(
        "--with",
        dest="with_models",
        action="append",
        default=[],
        metavar="MODEL",
        help="train this one of `more_models` too: edits params.yaml",
    )
    verb.add_argument("--dataset", metavar="NAME", help="use this data set: edits params.yaml")
    verb.add_argument("--fallback", metavar="NAME", help="use this data set, loudly, if the chosen one cannot be had")
    add_jobs(verb)
    verb.add_argument("--force", action="store_true", help="run the stages even when nothing changed")
    verb.add_argument("--keep-going", action="store_true", help="after a failure, run what does not depend on it")
    verb.add_argument("--local", action="store_true", help="run every stage on this machine, whatever its pool")
    verb.add_argument("--pull", action="store_true", help="restore what the DVC remote has, before anything runs")
    verb.add_argument("--push", action="store_true", help="send results and run cache to the DVC remote afterwards")
    verb.set_defaults(do=_do)


def _do(arguments: argparse.Namespace) -> int:
    gc.disable()  # whole libraries and the graph are about to be loaded, and all of it stays: a tenth of the time
    try:
        from flows.run import run

        return run(arguments)
    finally:
        gc.enable()
