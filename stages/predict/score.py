"""Score a folder of images as a batch job: what was scored before is passed over, bad files are listed beside.

folder + model.onnx -> scores.parquet  scores.errors.csv
"""

import argparse
import csv
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import EXIT_DONE, DataError, InvalidInput, exit_with
from stages.base.files import replacing
from stages.predict.classifier import Answer, Classifier, find_model, open_classifier
from stages.predict.image_arrays import Refusal
from stages.predict.image_files import found, printable, read, regular

TEXT, NUMBER = pa.string(), pa.float32()
SCHEMA = pa.schema(
    {
        "file": TEXT,  # path below the folder
        "sha256": TEXT,  # of the file
        "model_sha256": TEXT,
        "raw": pa.bool_(),  # pixels as they were, or centred first
        "image": TEXT,  # the file's name, with the place in it where the file is an array
        "label": TEXT,
        "probability": NUMBER,
        "runner_up": TEXT,
        "runner_up_probability": NUMBER,
    }
)
ROWS = 10_000  # that are kept as Python objects, which take ten times the room
KEY = ("file", "sha256", "model_sha256", "raw")


class Tally(NamedTuple):
    """How many files came to what."""

    scored: int
    known: int
    bad: int

    def __str__(self) -> str:
        """For the log, and for the state of the flow's run."""
        return f"{self.scored} files scored, {self.known} were scored before, {self.bad} could not be"


def score(model: str, folder: Path, out: Path, raw: bool = False) -> Tally:
    """Add to the table `out` what `model` says of the images in `folder`; earlier rows stay.

    Raises:
        InvalidInput: the model, the folder or the table cannot be read.
        OutputError: the results cannot be written; the earlier ones are untouched.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: is no folder of images; make it, or name another one")
    classifier = open_classifier(find_model(model))
    before = read_table(out)
    known = set(zip(*(before[name].to_pylist() for name in KEY), strict=True))
    harvest = Harvest(classifier, raw, digest(classifier.path))
    for name in _files(folder, harvest):
        harvest.take(name, os.path.relpath(name, folder), known)
    with replacing(out) as table, replacing(errors_beside(out)) as errors:
        pq.write_table(pa.concat_tables([before, harvest.table()]), table)
        write_errors(errors, harvest.bad)
    return Tally(harvest.scored, harvest.known, len(harvest.bad))


@dataclass
class Harvest:
    """What one run finds: new rows, bad files, counts."""

    classifier: Classifier
    raw: bool
    model_sha256: str
    scored: int = 0
    known: int = 0
    bad: list[Refusal] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _tables: list[Any] = field(default_factory=list)

    def take(self, name: str, file: str, known: set[tuple[Any, ...]]) -> None:
        """Score the file `name`, which the table calls `file`; if a part of it is bad, none of its rows are kept."""
        try:
            key = (printable(file), digest(regular(name)), self.model_sha256, self.raw)
        except DataError as error:
            self.bad.append(Refusal(file, str(error)))
            return
        if key in known:
            self.known += 1
            return
        results = [result for some in self.classifier.answers(read(name), self.raw) for result in some]
        refused = [result for result in results if isinstance(result, Refusal)]
        if refused:
            self.bad.append(Refusal(file + refused[0].name.removeprefix(name), refused[0].reason))
            return
        self.scored += 1
        self._rows += [_row(key, name, result) for result in results if isinstance(result, Answer)]
        if len(self._rows) >= ROWS:
            self._pack()

    def table(self) -> Any:
        """The new rows as an Arrow table."""
        self._pack()
        return pa.concat_tables(self._tables)

    def _pack(self) -> None:
        self._tables.append(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []


def errors_beside(out: Path) -> Path:
    """Where the files are listed that could not be scored this time."""
    return out.with_suffix(".errors.csv")


def read_table(path: Path) -> Any:
    """Arrow table of what was scored before, empty if nothing was.

    Raises:
        DataError: the file is not such a table.
    """
    if not path.exists():
        return SCHEMA.empty_table()
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: is no Parquet file ({_first_line(error)}); move it away, then run again") from error
    if table.schema != SCHEMA:
        raise DataError(f"{path}: has other columns than the results have; move it away, then run again")
    return table


def write_errors(path: Path, bad: Sequence[Refusal]) -> None:
    """Write one line a file that could not be scored; what is not printable in names is escaped."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(Refusal._fields)
        lines.writerows((printable(refusal.name), printable(refusal.reason)) for refusal in bad)


def _files(folder: Path, harvest: Harvest) -> Iterator[str]:
    """Regular files and links below `folder`; an empty folder is no mistake: nothing came in."""
    for name in found([str(folder)]):
        if not isinstance(name, Refusal):
            yield name
        elif name.name != str(folder) or not os.access(folder, os.R_OK):
            harvest.bad.append(name)


def _row(key: tuple[Any, ...], name: str, answer: Answer) -> dict[str, Any]:
    _, label, probability, runner_up, second = answer
    image = key[0] + printable(answer.name.removeprefix(name))
    said = (printable(label), probability, printable(runner_up), second)  # the model's file may call them anything
    return dict(zip(SCHEMA.names, (*key, image, *said), strict=True))


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]


def main(argv: Sequence[str] | None = None) -> int:
    """Score a folder of images; files that were scored before are passed over."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict.score", description=main.__doc__)
    parser.add_argument("--model", required=True, help="name or path of a model")
    parser.add_argument("--folder", type=Path, required=True, help="images, arrays, and folders of them")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write, or to add to")
    parser.add_argument("--raw", action="store_true", help="take pixels as they are, of the model's size")
    given = parser.parse_args(argv)
    tally = score(given.model, given.folder, given.out, given.raw)
    print(f"score: {tally}", flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
