"""The command line of `inkflow predict`: classifies images with ONNX Runtime, without TensorFlow.

This module imports little, so that `inkflow predict --help` responds at once; `stages.predict.predict` does the work.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_BROKEN_PIPE, InvalidInput
from stages.base.files import exists, is_folder

PARQUET_MAGIC = b"PAR1"
DESCRIPTION = """Print the most probable class of each image, its probability, and the second most probable class.

MODEL is a name (models/NAME/model.onnx), the path of an ONNX model of this project, or a registered model: MODEL@STAGE
or MODEL@VERSION, such as cnn@prod.
FILE is a PNG, JPEG, WebP, TIFF, BMP, GIF, npz or npy file, a folder of them, or - for standard input. Every file of a
folder is classified, refused, or named on standard error as no picture.

Photographs and scans of a digit are first converted to the form of MNIST's images: grey, light on dark, trimmed, scaled
and centred by mass. Arrays (npz, npy) that already have the model's size are used as they are. --raw switches the
conversion off: then every image has to have the model's size, and its pixels are used unchanged. A model that was
trained with pictures of another form, or with colours, gets pictures that are only stretched to its size.

A model of vectors, sequences or tokens takes npy, npz and CSV files, with a sample in each row of a CSV file.

An image with a low probability, or unlike the training images, is answered "unsure"; `predict.keep` in params.yaml says
which share of digits is answered.
"""
EPILOG = """exit codes: 0: all inputs were classified; 2: some inputs could not be classified, all others were
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow predict` to `parser`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="name or path of a model, or MODEL@STAGE")
    parser.add_argument("files", metavar="FILE", nargs="+", help="images, arrays, folders; - is standard input")
    parser.add_argument("--raw", action="store_true", help="use pixels as they are; images need the model's size")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a line, for rejected inputs too")
    form.add_argument("--csv", action="store_true", help="print CSV with a header")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="answer where the model is unsure, and use a model that failed a quality gate or is damaged",
    )
    parser.add_argument("--all", action="store_true", help="print the probability of every class")
    parser.add_argument("--parquet", metavar="PATH", help="write a Parquet file")


def predict(arguments: argparse.Namespace) -> int:
    """Classifies the images that the parsed `arguments` name, and returns the exit code."""
    if arguments.parquet:
        _check_parquet_path(Path(arguments.parquet), arguments.files)
    from stages.predict import predict  # late: NumPy and ONNX Runtime take longer than everything else
    from stages.predict.text_output import to_standard_output

    form = "json" if arguments.json else "csv" if arguments.csv else "parquet" if arguments.parquet else "text"
    try:
        code = predict.predict(
            arguments.model,
            arguments.files,
            arguments.raw,
            form,
            arguments.parquet,
            arguments.anyway,
            arguments.all,
        )
        with to_standard_output():
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        return EXIT_BROKEN_PIPE


def _check_parquet_path(path: Path, files: Sequence[str]) -> None:
    """Checks that `path` overwrites no other kind of file: in `--parquet a.png b.png` the path was forgotten.

    Raises:
        InvalidInput: The path is a folder, an input, or an existing file that is not a Parquet file.
    """
    if is_folder(path):
        raise InvalidInput(f"--parquet {path}: is a folder; name a file in it, such as {path / 'predictions.parquet'}")
    if str(path) in files or (exists(path) and not _is_parquet(path)):
        raise InvalidInput(f"--parquet {path}: is not a Parquet file, and would be overwritten; name another path")


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def main(argv: Sequence[str] | None = None) -> int:
    """Classifies images with a trained model."""
    parser = argparse.ArgumentParser("python -m stages.predict")
    add_arguments(parser)
    return predict(parser.parse_args(argv))
