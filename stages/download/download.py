"""Stage `download`: fetches the data set, checks its arrays and writes them in a canonical form."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE
from stages.data.canonical_form import canonical
from stages.data.config import Dataset, load_dataset, load_held_out
from stages.data.datasets import Description, describe, write_dataset
from stages.data.groups import GROUPS_FILE, Groups, own_groups, write_groups
from stages.download.fetch_groups import held_out_groups
from stages.download.http_download import READ_TIMEOUT_S
from stages.download.sources import fetch_arrays


def download(
    name: str, dataset: Dataset, out: Path, read_timeout_s: float = READ_TIMEOUT_S, *, with_groups: bool = False
) -> Description:
    """Writes dataset.npz, dataset.json and groups.npz to the folder `out`. The files do not depend on the source.

    Args:
        name: the data set's name.
        dataset: its section in params.yaml.
        out: the folder.
        read_timeout_s: largest time without data, in seconds.
        with_groups: whether the groups are read or fetched; else groups.npz has no arrays.

    Raises:
        DataError: a source has an invalid file.
        InvalidInput: `with_groups`, and no groups are known.
        SourceUnavailable: no source has the file.
        OutputError: `out` cannot be written.
    """
    fetched = fetch_arrays(name, dataset, read_timeout_s, with_groups=with_groups and not dataset.groups)
    arrays = canonical(fetched.without_groups(), dataset.kind)
    description = describe(name, dataset, arrays)
    if with_groups:
        groups: Groups | None = held_out_groups(dataset, description, fetched, read_timeout_s)
    else:
        groups = own_groups(name, fetched)
    write_dataset(out, arrays, description)
    write_groups(out / GROUPS_FILE, groups)
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
    with_groups = load_held_out(arguments.params) == "groups"
    description = download(name, dataset, arguments.out, arguments.timeout, with_groups=with_groups)
    for array, info in description.arrays.items():
        print(f"{array}: {info.dtype} {info.shape}", flush=True)
    return EXIT_DONE
