"""Prints the SHA-256 of each array of a data set at its source, and the values in params.yaml. Not a stage.

Only the first source is read, which is the mirror if there is one: an older copy in another source is not a change.
Data that the stage `download` would refuse are an error here. With --out, changed data are written as that stage does.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from stages.base.errors import EXIT_DONE, SourceUnavailable, exit_with
from stages.data.canonical_form import canonical
from stages.data.config import Dataset, load_dataset, load_held_out
from stages.data.datasets import (
    Arrays,
    Description,
    check_shape_and_range,
    describe,
    digest,
    error_context,
    write_dataset,
)
from stages.data.groups import GROUPS_FILE, Groups, own_groups, write_groups
from stages.download.fetch_groups import held_out_groups
from stages.download.http_download import READ_TIMEOUT_S
from stages.download.sources import Source, list_sources, local_file, read_source


def read_data(name: str, dataset: Dataset, source: Source, *, with_groups: bool) -> Arrays:
    """Returns the arrays in the file of `source`, after the checks of the stage `download` except that of the digests.

    Groups in the file are read if `with_groups` is true.

    Raises:
        DataError: the file is no valid data set, or not of the shape or range in params.yaml.
        SourceUnavailable: the source cannot be reached or has no such file.
    """
    remedy = "put a file with x_train, y_train, x_test and y_test at this source"
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            error_context(source.label, remedy),
            local_file(source, name, dataset.max_bytes, READ_TIMEOUT_S, Path(folder)) as path,
        ):
            arrays = read_source(path, dataset, with_groups=with_groups)
            check_shape_and_range(arrays, dataset)
    except SourceUnavailable as error:
        raise SourceUnavailable(f"{source.label}: {error}; fix this source or use another mirror") from error
    return arrays


def _read_groups(dataset: Dataset, description: Description, arrays: Arrays, *, held_out: bool) -> Groups | None:
    """Returns the groups as the stage `download` does; standard output has the digests alone."""
    if not held_out:
        return own_groups(description.name, arrays)
    with redirect_stdout(sys.stderr):
        return held_out_groups(dataset, description, arrays, READ_TIMEOUT_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the digests as JSON and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages.download.source_digests", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="default: %(default)s")
    parser.add_argument("--dataset", help="one of `datasets`; default: the selected one")
    parser.add_argument("--out", type=Path, help="folder for the data, if they differ from params.yaml")
    arguments = parser.parse_args(argv)
    name, dataset = load_dataset(arguments.params, arguments.dataset)
    recorded = dataset.sha256.model_dump(exclude_none=True) if dataset.sha256 else {}
    result = {"dataset": name, "source": None, "present": recorded, "recorded": recorded}
    if not dataset.embedded:
        sources = list_sources(name, dataset, os.environ)
        is_away = dataset.path and len(sources) > 1 and not Path(sources[0].location).is_file()
        source = sources[1] if is_away else sources[0]
        held_out = load_held_out(arguments.params) == "groups"
        with_groups = bool(dataset.recorded_groups) or (held_out and dataset.groups is None)
        read = read_data(name, dataset, source, with_groups=with_groups)
        present = {key: digest(array) for key, array in read.without_groups().by_name().items()}
        present |= {array: digest(getattr(read, array)) for array in dataset.recorded_groups}
        result |= {"source": source.label, "present": present}
        if arguments.out and present != recorded:
            arrays = canonical(read.without_groups(), dataset.kind)
            description = describe(name, dataset, arrays)
            groups = _read_groups(dataset, description, read, held_out=held_out)
            write_dataset(arguments.out, arrays, description)
            write_groups(arguments.out / GROUPS_FILE, groups)
    print(json.dumps(result))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
