"""Arguments of `inkflow monitor`. This module imports little, so that `inkflow monitor --help` answers at once."""

import argparse
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """Compare a model's inputs with its training data (drift): what `score` and `serve` have seen, beside
what the training recorded of its validation images, and the evidence that they differ. See docs/watching.md.

MODEL is a name, a folder, a registered model such as cnn@prod, or the first digits of the model's SHA-256; without it,
all watched models are shown. An alarm stands until a person decides about it:

  --acknowledge  the new source is in order: what its next 500 images show is expected from then on
  --reset        the source was repaired: forget what was seen, and compare with the training again
"""
EPILOG = """exit codes: 0: no alarm stands; 3: one does; 2: unknown model, no reference, nothing seen, damaged record
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this program to `parser`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", nargs="?", help="name of a model, MODEL@STAGE, or a SHA-256")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="draw a picture: .svg or .png")
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument("--acknowledge", metavar="REASON", help="accept the change; the reason is recorded")
    decision.add_argument("--reset", metavar="REASON", help="begin anew; the reason is recorded")


def monitor(arguments: argparse.Namespace) -> int:
    """Shows the watch of the model that the parsed `arguments` name, and returns the exit code."""
    from stages.monitor import monitor as work  # late: imports libraries that compute

    if arguments.acknowledge is not None or arguments.reset is not None:
        return work.decide(arguments.model, arguments.acknowledge, arguments.reset)
    return work.show(arguments.model, as_json=arguments.json, picture=arguments.picture)


def main(argv: Sequence[str] | None = None) -> int:
    """Shows what the watch of a model has found."""
    parser = argparse.ArgumentParser("python -m stages.monitor")
    add_arguments(parser)
    return monitor(parser.parse_args(argv))
