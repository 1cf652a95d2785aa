"""Write a trained model in another format beside its ONNX: LiteRT or SavedModel.

This module is light, so that `inkflow export --help` answers at once; `stages.export.export` does the work.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.export.formats import FORMATS

DESCRIPTION = """Write a trained model in another format beside its model.onnx.

Like the ONNX model it takes raw pixels and gives probabilities, or the value of a regression.
It is kept only if it agrees with Keras.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the arguments of this program."""
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="name of a model, or path of its model.keras")
    names = ", ".join(f"{form} ({file})" for form, file in FORMATS.items())
    parser.add_argument("--format", choices=FORMATS, required=True, help=names)
    parser.add_argument("--out", type=Path, metavar="PATH", help="what to write; beside the model by default")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="what the prepare stage wrote")


def export_model(given: argparse.Namespace) -> int:
    """Export what the parsed arguments name; gives the exit code."""
    from stages.export.export import export  # late: see above

    path, difference = export(given.model, given.format, given.data, given.out)
    print(f"{path}: answers at most {difference:.2g} off those of Keras", flush=True)
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Export a trained model."""
    parser = argparse.ArgumentParser("python -m stages.export.command")
    add_arguments(parser)
    return export_model(parser.parse_args(argv))
