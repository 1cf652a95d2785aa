"""Stage `download`: fetches the data set, checks its arrays and writes them in a canonical form."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.data.config import Dataset, load_dataset
from stages.data.datasets import Description, describe, write_dataset
from stages.download.http_download import READ_TIMEOUT_S
from stages.download.sources import fetch_arrays


def download(name: str, dataset: Dataset, out: Path, read_timeout_s: float = READ_TIMEOUT_S) -> Description:
    """Writes dataset.npz and dataset.json to the folder `out`. The files do not depend on the source.

    Raises:
        DataError: a source has an invalid file.
        SourceUnavailable: no source has the file.
        OutputError: `out` cannot be written.
    """
    arrays = fetch_arrays(name, dataset, read_timeout_s)
    description = describe(name, dataset, arrays)
    write_dataset(out, arrays, description)
    return description


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the stage and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--timeout",
        type=float,
        default=READ_TIMEOUT_S,
        help="largest time without data in seconds; default: %(default)s",
    )
    arguments = parser.parse_args(argv)
    name, dataset = load_dataset(arguments.params)
    description = download(name, dataset, arguments.out, arguments.timeout)
    for array, info in description.arrays.items():
        print(f"{array}: {info.dtype} {info.shape}", flush=True)
    return EXIT_DONE
