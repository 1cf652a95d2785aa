"""`inkflow completion`: the completion script of a shell, made from the verbs' arguments by shtab."""

import argparse

import shtab

from flows.cli.main import make_parser
from flows.cli.verbs import VERBS
from stages.base.errors import EXIT_DONE


def completion(arguments: argparse.Namespace) -> int:
    """Print the script; gives the exit code."""
    print(shtab.complete(make_parser(list(VERBS)), arguments.shell))
    return EXIT_DONE
