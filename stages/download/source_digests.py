"""Prints the SHA-256 of each array of a data set at its source, and the values in params.yaml. Not a stage.

Only the first source is read, which is the mirror if there is one: an older copy in another source is not a change.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stages.base.errors import EXIT_DONE, SourceUnavailable, exit_with
from stages.data.config import Dataset, load_dataset
from stages.data.datasets import describe, error_context
from stages.download.http_download import READ_TIMEOUT_S
from stages.download.sources import Source, list_sources, local_file, read_source


def digests(name: str, dataset: Dataset, source: Source) -> dict[str, str]:
    """Returns the SHA-256 of each array in the file of `source`.

    Raises:
        DataError: the file is no valid data set.
        SourceUnavailable: the source cannot be reached or has no such file.
    """
    remedy = "put a file with x_train, y_train, x_test and y_test at this source"
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            error_context(source.label, remedy),
            local_file(source, name, dataset.max_bytes, READ_TIMEOUT_S, Path(folder)) as path,
        ):
            arrays = read_source(path, dataset)
    except SourceUnavailable as error:
        raise SourceUnavailable(f"{source.label}: {error}; fix this source or use another mirror") from error
    return {array: info.sha256 for array, info in describe(name, dataset, arrays).arrays.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the digests as JSON and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.download.source_digests", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--dataset", help="one of `datasets`; default: the selected one")
    arguments = parser.parse_args(argv)
    name, dataset = load_dataset(arguments.params, arguments.dataset)
    recorded = dataset.sha256.model_dump(exclude_none=True) if dataset.sha256 else {}
    result = {"dataset": name, "source": None, "present": recorded, "recorded": recorded}
    if not dataset.embedded:
        source = list_sources(name, dataset, os.environ)[0]
        result |= {"source": source.label, "present": digests(name, dataset, source)}
    print(json.dumps(result))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
