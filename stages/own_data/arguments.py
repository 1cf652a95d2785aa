"""Arguments of `inkflow data add`, which adds data of many forms as a data set.

This module is light, so that `inkflow data --help` responds at once; `stages.own_data.program` does the work.
"""

import argparse
import os
from pathlib import Path

MAX_BYTES = 1_000_000_000
DESCRIPTION = """Add your own data to params.yaml as a data set: look at files, show what they hold, write the entry.

PATH is an npz or npy file, an IDX file (train-images-idx3-ubyte.gz), a CSV file with a label and pixels a line, a
MATLAB file, a Parquet file with pictures, a folder with one folder of pictures a class, or a folder of such files. A
URL is downloaded. Files whose names hold `train` and `test` (or t10k) are the two parts; without them a share is split
off. What is not certain is not guessed: the message names the option that says it. Nothing is written if anything is
wrong.
"""
EPILOG = """examples:
  inkflow data add letters ~/Downloads/letters                      a folder with one folder of pictures a class
  inkflow data add fashion train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz t10k-*.gz
  inkflow data add digits2 train.csv --test-share 0.1 --use         Kaggle's form; and choose it for the next run
  inkflow data add shapes a.npz --x-train imgs --y-train kinds      other names of arrays, one part to be split
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow data` to its parser."""
    verb.description = "Add your own data as a data set of params.yaml."
    actions = verb.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    add = actions.add_parser("add", help="look at files, show what they hold, and write the entry", epilog=EPILOG)
    add.description, add.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    add.set_defaults(parser=add)
    add.add_argument("name", metavar="NAME", help="name of the data set: lower-case letters, digits and _")
    add.add_argument("paths", nargs="+", type=location, metavar="PATH_OR_URL", help="files, folders or addresses")
    add.add_argument("--dry-run", action="store_true", help="show what the files hold, and write nothing")
    add.add_argument("--replace", action="store_true", help="replace the data set NAME, if it exists")
    add.add_argument("--use", action="store_true", help="choose it for the next run: set `dataset` in params.yaml")
    add.add_argument("--sheet", type=_path, metavar="FILE", help="write a contact sheet, a PNG file")
    add.add_argument("--title", help="title in the report (NAME)")
    add.add_argument("--licence", help="licence and authors, for the report")
    _add_reading_options(add.add_argument_group("how the files are read"))


def _add_reading_options(parser: argparse._ArgumentGroup) -> None:
    """Adds the options that say how the data are read to `parser`."""
    parser.add_argument("--test", nargs="+", type=location, default=[], metavar="PATH", help="files of the test part")
    parser.add_argument(
        "--test-share", type=float, metavar="X", help="share of the test part, if it is split off (0.2)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the split (0)")
    for name, what in (("x", "images"), ("y", "labels")):
        for part, long in (("train", "training"), ("test", "test")):
            help = f"name of the array of {long} {what} in an npz or MATLAB file"
            parser.add_argument(f"--{name}-{part}", metavar="KEY", help=help)
    parser.add_argument(
        "--label", metavar="COLUMN", help="column of the label in a CSV or Parquet file: name or number"
    )
    parser.add_argument("--image", metavar="COLUMN", help="column of the pictures in a Parquet file")
    parser.add_argument(
        "--shape", type=int, nargs="+", metavar="N", help="height, width and 3 for colour of flat pixels"
    )
    parser.add_argument("--size", type=int, nargs="+", metavar="N", help="resize all images to this height and width")
    parser.add_argument("--transpose", action="store_true", help="swap rows and columns of each image")
    parser.add_argument("--grey", action="store_true", help="convert colour images to grey")
    parser.add_argument("--pixels", type=float, nargs=2, metavar=("BLACK", "WHITE"), help="range of the pixel values")
    parser.add_argument("--class-names", type=_names, metavar="A,B,...", help="names of the classes, in their order")
    parser.add_argument(
        "--max-bytes",
        type=int,
        metavar="N",
        help=f"largest size of a file, and of all arrays, unpacked ({MAX_BYTES:,})",
    )


def location(text: str) -> str:
    """Returns a path from the caller's folder as an absolute path, with its links, and a URL as it is."""
    if is_url(text):
        return text
    path = _path(text)
    if path.name == "..":
        return str(path.resolve())
    return str(path.parent.resolve() / path.name if ".." in path.parts else path)


def is_url(text: str) -> bool:
    """Returns whether `text` is an address of a web server."""
    return text.lower().startswith(("http://", "https://"))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text)).absolute()  # noqa: PTH111  # pathlib fails for a user who does not exist
