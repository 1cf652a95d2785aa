"""The `inkflow` command: parses the arguments, calls the verb, gives the exit code: 0 done, 1 failed, 2 bad input."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from flows.cli.verbs import VERBS, add_arguments, call
from flows.core.project import enter_project
from stages.base.errors import InkflowError, exit_with
from stages.base.suggestions import did_you_mean

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it
FIRST_STEPS = """usage: inkflow VERB [options]

  inkflow run                  bring everything up to date; a second run does nothing
  inkflow plan                 what would run, and why
  inkflow report --open        the page about the models
  inkflow predict cnn a.png    classify images with a trained model
  inkflow doctor               what this machine lacks for a run

`inkflow --help` lists all verbs, `inkflow VERB --help` the options of one.
"""
EXAMPLES = """examples:
  inkflow plan                                  what would run, and why
  inkflow run                                   bring everything up to date
  inkflow run train@cnn                         one stage, with what it needs
  inkflow run --set models.dense.epochs=3       change a parameter, run what depends on it
  inkflow run --dataset digits                  another data set
  inkflow sweep --grid models.cnn.batch_size=32,128 --grid models.cnn.epochs=5,10
  inkflow verify train@cnn                      run it again elsewhere: does the same come out?
"""


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest name for an unknown verb, choice or option."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"got {value!r}; {did_you_mean(str(value), known)}known: {', '.join(known)}"
            )

    def refuse(self, rest: Sequence[str]) -> NoReturn:
        """End with the usage and what is wrong with the arguments that nothing takes."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        self.error(
            f"unrecognized arguments: {' '.join(rest)}; {did_you_mean(rest[0].partition('=')[0], known)}".rstrip("; ")
        )


def console() -> None:
    """Entry point of the console command."""
    try:
        sys.exit(exit_with(_redacted))
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)


def _redacted() -> int:
    """`main`, with secrets taken out of its errors."""
    try:
        return main()
    except InkflowError as error:
        from flows.core.redaction import mask  # late: few commands end with an error

        error.args = (mask(str(error)),)
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Parse `argv`, call the verb, give its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if not given:
        print(FIRST_STEPS, end="")
        return 0
    name = next((word for word in given if not word.startswith("-")), None)
    parser = make_parser([name] if name in VERBS else [])
    arguments, rest = parser.parse_known_args(given)
    if rest:
        arguments.parser.refuse(rest)
    if not VERBS[arguments.verb].anywhere:
        enter_project()
    return call(arguments.verb, arguments)


def make_parser(names: Sequence[str]) -> Parser:
    """The parser of the command, in which the verbs `names` have their arguments."""
    parser = Parser("inkflow", description="Train, compare and ship digit classifiers.", epilog=EXAMPLES)
    parser.add_argument("--version", action=_Version, help="print the version")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb", parser_class=Parser)
    for name, verb in VERBS.items():
        sub = verbs.add_parser(name, help=verb.help)
        sub.set_defaults(parser=sub)
        if name in names:
            add_arguments(name, sub)
    return parser


class _Version(argparse.Action):
    """Prints the version and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # late: reads the installed packages

        print(f"inkflow {version('inkflow')}")
        parser.exit()
