"""What a data set is at its source: the SHA-256 of each array, beside those of params.yaml. No stage.

Only the first source is asked, the mirror where one is named: what an older copy elsewhere says is no news.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.base.errors import EXIT_DONE, SourceUnavailable, exit_with
from stages.data.config import Dataset, load_dataset
from stages.data.datasets import blaming, describe
from stages.download.http_download import READ_S, Patience, fetch
from stages.download.sources import Source, arrays_of, sources


def digests(name: str, dataset: Dataset, source: Source, patience: Patience) -> dict[str, str]:
    """SHA-256 of each array of the file at `source`.

    Raises:
        DataError: the file is no data set.
        SourceUnavailable: there is no file, or it cannot be reached.
    """
    remedy = "put a file with x_train, y_train, x_test and y_test there"
    with blaming(source.label, remedy), _local(source, dataset, patience) as path:
        arrays = arrays_of(path, dataset)
    return {array: facts.sha256 for array, facts in describe(name, dataset, arrays).arrays.items()}


@contextmanager
def _local(source: Source, dataset: Dataset, patience: Patience) -> Iterator[Path]:
    if not source.is_address:
        if not Path(source.place).is_file():
            raise SourceUnavailable(f"{source.label}: there is no such file; put it there, or name another mirror")
        yield Path(source.place)
        return
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "dataset.npz"
        fetch(source.place, part, dataset.max_bytes, patience)
        yield part


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is there as JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.download.source_digests", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--dataset", help="one of `datasets`; default: the chosen one")
    arguments = parser.parse_args(argv)
    name, dataset = load_dataset(arguments.params, arguments.dataset)
    recorded = dataset.sha256.model_dump(exclude_none=True) if dataset.sha256 else {}
    found = {"dataset": name, "source": None, "present": recorded, "recorded": recorded}
    if not dataset.embedded:
        source = sources(name, dataset, os.environ)[0]
        present = digests(name, dataset, source, Patience(read_s=READ_S))
        found |= {"source": source.label, "present": present}
    print(json.dumps(found))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
