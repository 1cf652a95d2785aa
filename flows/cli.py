"""The `inkflow` command: thin verbs, each with --help, and exit codes 0 done, 1 failed, 2 bad input."""

import argparse
import os
import sys
from collections.abc import Sequence

from flows import (
    check_verb,
    ci_verb,
    compare_verb,
    doctor_verb,
    plan_verb,
    predict_verb,
    prune_verb,
    report_verb,
    run_verb,
    sweep_verb,
    up_verb,
    verify_verb,
)
from stages.base.errors import InkflowError, exit_with

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it
# Each registers its verb, and imports what does the work when the verb is called: `inkflow --help` answers at once.
VERBS = (
    run_verb,
    plan_verb,
    sweep_verb,
    verify_verb,
    predict_verb,
    report_verb,
    check_verb,
    compare_verb,
    ci_verb,
    up_verb,
    prune_verb,
    doctor_verb,
)

EXAMPLES = """examples:
  inkflow plan                                  what would run, and why
  inkflow run                                   bring everything up to date
  inkflow run train@cnn                         one stage, with what it needs
  inkflow run --set models.dense.epochs=3       change a parameter, run what depends on it
  inkflow run --dataset digits                  another data set
  inkflow sweep --grid models.cnn.batch_size=32,128 --grid models.cnn.epochs=5,10
  inkflow verify train@cnn                      run it again elsewhere: does the same come out?
"""


def console() -> None:
    """Entry point of the console command."""
    try:
        sys.exit(exit_with(_masked))
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)


def _masked() -> int:
    """`main`, whose errors say no secret."""
    try:
        return main()
    except InkflowError as error:
        from flows.core.redaction import mask  # late: as all that a verb may never need

        error.args = (mask(str(error)),)
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Parse `argv`, do the verb, give its exit code."""
    arguments = _parser().parse_args(argv)
    if not getattr(arguments, "anywhere", False):  # paths that a person gave start where they are
        from flows.core.project import enter_project  # late: it looks for processes, which takes its time to import

        enter_project()
    return int(arguments.do(arguments))


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "inkflow", description="Train, compare and ship digit classifiers.", epilog=EXAMPLES, formatter_class=raw
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in VERBS:
        module.register(verbs)
    return parser
