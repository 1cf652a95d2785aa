"""Stage `download`: fetch the data set, check its arrays, write it canonically."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.data.config import Dataset, load_dataset
from stages.data.datasets import Description, describe, write_dataset
from stages.download.http_download import READ_S, Patience
from stages.download.sources import obtain


def download(name: str, dataset: Dataset, out: Path, patience: Patience) -> Description:
    """Write dataset.npz and dataset.json to the folder `out`, the same whichever source serves.

    Raises:
        DataError: a source has the file, but the file is not what it should be.
        SourceUnavailable: no source has it.
        OutputError: `out` cannot be written.
    """
    arrays = obtain(name, dataset, patience)
    description = describe(name, dataset, arrays)
    write_dataset(out, arrays, description)
    return description


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="folder for the data set")
    parser.add_argument("--timeout", type=float, default=READ_S, help="seconds without a byte; default: %(default)s")
    args = parser.parse_args(argv)
    name, dataset = load_dataset(args.params)
    written = download(name, dataset, args.out, Patience(read_s=args.timeout))
    for name, facts in written.arrays.items():
        print(f"{name}: {facts.dtype} {facts.shape}", flush=True)
    return EXIT_DONE
