"""Classify images with a trained model: ONNX Runtime, no TensorFlow.

This module is light, so that `inkflow predict --help` answers at once; `stages.predict.predict` does the work.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_FAILED, InvalidInput, OutputError

PARQUET = b"PAR1"  # with which a Parquet file begins
DESCRIPTION = """Say which class each image shows, how sure that is, and what comes second.

MODEL is a name (models/NAME/model.onnx) or the path of an ONNX model of this project.
FILE is a PNG, JPEG, WebP, npz or npy file, a folder of them, or - for standard input.

Photographs and scans of a digit are brought into the form of MNIST's images first: grey, light on dark, trimmed, scaled
and centred by mass. Arrays (npz, npy) that have the model's size already are taken as they are. --raw switches it off:
every image must then have the model's size, and its pixels go in unchanged.
"""
EPILOG = """exit codes: 0 all inputs were classified; 2 some could not be: the others are done
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the arguments of this program."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="name or path of a model")
    parser.add_argument("files", metavar="FILE", nargs="+", help="images, arrays, folders; - is standard input")
    parser.add_argument("--raw", action="store_true", help="take pixels as they are, of the model's size")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line, for bad inputs too")
    form.add_argument("--csv", action="store_true", help="CSV with a line of names")
    parser.add_argument("--parquet", metavar="PATH", help="write a Parquet file")


def predict(given: argparse.Namespace) -> int:
    """Classify what the parsed arguments name; gives the exit code."""
    if given.parquet:
        _check_target(Path(given.parquet), given.files)
    from stages.predict import predict  # late: NumPy and ONNX Runtime cost more than all the rest

    form = "json" if given.json else "csv" if given.csv else "parquet" if given.parquet else "text"
    _take_any_letter()
    try:
        code = predict.predict(given.model, given.files, given.raw, form, given.parquet)
        sys.stdout.flush()
        return code
    except OSError as error:  # of standard output: what is read has errors of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again when it ends
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `head` does
            return EXIT_FAILED
        raise OutputError("standard output", error) from error


def _take_any_letter() -> None:
    """Have standard output escape what its encoding lacks, as names of files may need; standard error always does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _check_target(path: Path, files: Sequence[str]) -> None:
    """Refuse to write over what is no Parquet file: `--parquet a.png b.png` most likely lacks its PATH.

    Raises:
        InvalidInput: with what the path is.
    """
    if path.is_dir():
        raise InvalidInput(f"--parquet {path}: is a folder; name a file in it, such as {path / 'answers.parquet'}")
    if str(path) in files or (path.exists() and not _is_parquet(path)):
        raise InvalidInput(f"--parquet {path}: is no Parquet file, and would be written over; name another path")


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


def main(argv: Sequence[str] | None = None) -> int:
    """Classify images with a trained model."""
    parser = argparse.ArgumentParser("python -m stages.predict")
    add_arguments(parser)
    return predict(parser.parse_args(argv))
