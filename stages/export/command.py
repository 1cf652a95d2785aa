"""Arguments of `inkflow export`, which writes a trained model as LiteRT or SavedModel beside its ONNX file.

This module is light, so that `inkflow export --help` answers at once; `stages.export.export` does the work.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.model.export_formats import FORMATS

DESCRIPTION = """Write a trained model in another format beside its model.onnx.

Like the ONNX model it takes raw pixels and returns probabilities, or the value of a regression.
The file is kept only if its predictions agree with Keras.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this program to `parser`."""
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    named = "name of a model, MODEL@STAGE or MODEL@VERSION, or path of a model.keras"
    parser.add_argument("model", metavar="MODEL", help=named)
    names = ", ".join(f"{name} ({file})" for name, file in FORMATS.items())
    parser.add_argument("--format", choices=FORMATS, required=True, help=names)
    parser.add_argument("--out", type=Path, metavar="PATH", help="path to write to; beside the model by default")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with the outputs of the prepare stage (default: data/prepared, here or in the project around)",
    )


def export_model(arguments: argparse.Namespace) -> int:
    """Exports the model in the parsed `arguments` and returns the exit code."""
    from stages.export.export import export  # imports libraries that compute: not for --help
    from stages.predict.model_files import in_project

    data = arguments.data or in_project(Path("data/prepared"))
    path, difference = export(arguments.model, arguments.format, data, arguments.out)
    print(f"{path}: predictions differ by at most {difference:.2g} from those of Keras", flush=True)
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Exports a trained model."""
    parser = argparse.ArgumentParser("python -m stages.export")
    add_arguments(parser)
    return export_model(parser.parse_args(argv))
