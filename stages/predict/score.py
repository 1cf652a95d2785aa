"""The batch job `score`: adds the predictions of new files in a folder to a Parquet table, and lists rejected files.

folder + model.onnx -> scores.parquet  scores.errors.csv
"""

import argparse
import csv
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import EXIT_DONE, DataError, InvalidInput, exit_with, raise_fault
from stages.base.files import exclusive_lock, exists, is_folder, replacing
from stages.base.shown_text import csv_text
from stages.base.streams import tell
from stages.model.tasks import STAND_IN
from stages.predict.classifier import Classifier
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import (
    LeftOut,
    escape_unprintable,
    regular_file,
    report_left_out,
    short_message,
)
from stages.predict.inputs import expand, read
from stages.predict.model_standing import file_sha256, open_model, registered_as
from stages.predict.results import Result, Value
from stages.predict.watcher import count_watched, save_watch, watched_or_not

TEXT, NUMBER = pa.string(), pa.float32()
SUFFIX = ".parquet"
SCHEMA = pa.schema(
    {
        "folder": TEXT,  # below the current folder or absolute; null in rows of earlier versions
        "file": TEXT,  # path below the folder
        "sha256": TEXT,  # of the file
        "model_sha256": TEXT,
        "raw": pa.bool_(),  # whether pixels were used as they are
        "image": TEXT,  # the file's name, with the index of the image if the file is an array
        "label": TEXT,
        "probability": NUMBER,
        "runner_up": TEXT,
        "runner_up_probability": NUMBER,
        "stand_in_for": TEXT,  # data set for which that of the model's training is a stand-in; null if it is none
        "unsure": pa.bool_(),  # null if the model states no thresholds
        "reason": TEXT,  # why it is unsure
        "unlikeness": NUMBER,  # to the training images; null if the model does not measure it
        "model_version": TEXT,  # in the registry; null for a model that is not registered
        "model_commit": TEXT,
        "value": NUMBER,  # of a regression, which has no label and no probabilities; else null
    }
)
ADDED = (
    "folder",
    STAND_IN,
    "unsure",
    "reason",
    "unlikeness",
    "model_version",
    "model_commit",
    "value",
)  # columns that tables of earlier versions lack
KEY = ("folder", "file", "sha256", "model_sha256", "raw")
MAX_ROWS = 10_000  # kept as Python objects, which take ten times the memory of Arrow's


class ScoreCounts(NamedTuple):
    """Numbers of files by outcome."""

    scored: int
    known: int
    rejected: int
    unsure: int = 0  # images

    def __str__(self) -> str:
        """Returns the message for the log and for the state of the flow run."""
        scored = f"{self.scored} {'file' if self.scored == 1 else 'files'} scored"
        answers = "1 answer is unsure" if self.unsure == 1 else f"{self.unsure} answers are unsure"
        unsure = f", {answers}" if self.unsure else ""
        return f"{scored}, {self.known} scored before, {self.rejected} could not be scored{unsure}"


def score(
    model: str, folder: Path, out: Path, raw: bool = False, anyway: bool = False, watch: bool = True
) -> ScoreCounts:
    """Adds the predictions of `model` for new images in `folder` to the table `out`; earlier rows stay.

    With `anyway`, a model that failed a quality gate is used too. With `watch`, the images are compared with the
    model's reference. A process waits for another one that adds to the same table.

    Raises:
        InvalidInput: The model, the folder or the table cannot be read, or the table's name has another suffix.
        OutputError: The results cannot be written; the earlier ones are unchanged.
    """
    if not is_folder(folder):
        raise InvalidInput(f"{folder}: is not a folder; create it, or name another one")
    if out.suffix != SUFFIX:
        raise InvalidInput(f"{out}: the table is a Parquet file, expected a name that ends in {SUFFIX}")
    classifier, model_sha256 = open_model(model, anyway)
    version = registered_as(classifier.path)
    lock = out.with_name(f".{out.name}.lock")
    with exclusive_lock(lock, out, remove=True, waits=lambda: tell(f"waiting for another process that adds to {out}")):
        earlier = _read_table(out)
        known = set(zip(*(earlier[name].to_pylist() for name in KEY), strict=True))
        if watch:
            classifier = watched_or_not(classifier, model_sha256, version)
        scorer = Scorer(classifier, raw, model_sha256, _folder_name(folder), known, version)
        _score_files(scorer, folder, {os.path.realpath(path) for path in (out, _errors_of(out), lock)})
        with replacing(out) as table, replacing(_errors_of(out)) as errors:
            pq.write_table(pa.concat_tables([earlier, scorer.table()]), table)
            _write_errors(errors, scorer.rejected)
            save_watch(classifier)  # before the table has its rows: files that it knows are never watched again
    return scorer.counts


def _errors_of(out: Path) -> Path:
    """Returns the file that lists the rejected files, beside the table."""
    return out.with_suffix(".errors.csv")


def _score_files(scorer: "Scorer", folder: Path, own: Collection[str]) -> None:
    """Scores all files in `folder`, except the job's `own`."""
    for name in expand(scorer.classifier, [str(folder)]):
        if os.path.realpath(name if isinstance(name, str) else name.name) in own:
            continue
        if isinstance(name, LeftOut):
            report_left_out(name)
        elif not isinstance(name, RejectedInput):
            scorer.add(name, os.path.relpath(name, folder))
        elif name.name != str(folder) or not os.access(folder, os.R_OK):  # an empty folder is no mistake
            scorer.rejected.append(name)


@dataclass
class Scorer:
    """Scores files one by one, and collects the rows of the table and the rejected files.

    Attributes:
        folder: The folder's name in the table.
        known: The values of KEY of the files that were scored before.
        version: Version and commit of a registered model.
    """

    classifier: Classifier
    raw: bool
    model_sha256: str
    folder: str
    known: set[tuple[Any, ...]]
    version: dict[str, str] = field(default_factory=dict)
    rejected: list[RejectedInput] = field(default_factory=list)
    _scored: int = 0
    _skipped: int = 0
    _unsure: int = 0
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _tables: list[Any] = field(default_factory=list)

    @property
    def counts(self) -> ScoreCounts:
        """The numbers of files so far."""
        return ScoreCounts(self._scored, self._skipped, len(self.rejected), self._unsure)

    def add(self, name: str, file: str) -> None:
        """Scores the file `name`, called `file` in the table; rejects all of its images if one is rejected."""
        try:
            key = (self.folder, escape_unprintable(file), file_sha256(regular_file(name)), self.model_sha256, self.raw)
        except DataError as error:
            self.rejected.append(RejectedInput(file, str(error)))
            return
        if key in self.known or (None, *key[1:]) in self.known:
            self._skipped += 1
            return
        results = [
            result for batch in self.classifier.predict(read(self.classifier, name), self.raw) for result in batch
        ]
        rejected = [result for result in results if isinstance(result, RejectedInput)]
        count_watched(self.classifier, not rejected)
        if rejected:
            self.rejected.append(RejectedInput(file + rejected[0].name.removeprefix(name), rejected[0].reason))
            return
        self._scored += 1
        stand_in = self.classifier.stand_in_for and escape_unprintable(self.classifier.stand_in_for)
        marks = {STAND_IN: stand_in} | self.version
        predictions = [result for result in results if not isinstance(result, RejectedInput)]
        self._unsure += sum(prediction.unsure is True for prediction in predictions)
        self._rows += [_row(key, name, prediction) | marks for prediction in predictions]
        if len(self._rows) >= MAX_ROWS:
            self._pack()

    def table(self) -> Any:
        """Returns the new rows as an Arrow table."""
        self._pack()
        return pa.concat_tables(self._tables)

    def _pack(self) -> None:
        self._tables.append(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []


def _read_table(path: Path) -> Any:
    """Returns the Arrow table of earlier results, empty if there are none.

    Raises:
        DataError: The file is not such a table.
    """
    if not exists(path):
        return SCHEMA.empty_table()
    try:
        table = _completed(pq.read_table(path))
        table.validate(full=True)  # also that texts are UTF-8
        is_other = table.schema != SCHEMA
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise_fault(error)
        raise DataError(
            f"{path}: is not a Parquet file, or damaged ({short_message(error)}); move it away, then run again"
        ) from error
    if is_other:
        raise DataError(f"{path}: has other columns than a table of results; move it away, then run again")
    return table


def _completed(table: Any) -> Any:
    """Returns a table of an earlier version with the columns that it lacks."""
    for name in ADDED:
        if name not in table.schema.names:
            table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    is_same = sorted(table.schema.names) == sorted(SCHEMA.names)  # without a name twice
    return table.select(SCHEMA.names) if is_same else table


def _folder_name(folder: Path) -> str:
    """Returns the same name for every spelling of `folder`: its path below the current folder, or else absolute."""
    path, here = folder.resolve(), Path.cwd()
    return escape_unprintable(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _write_errors(path: Path, rejected: Sequence[RejectedInput]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(RejectedInput._fields)
        lines.writerows([csv_text(escape_unprintable(text)) for text in item] for item in rejected)


def _row(key: tuple[Any, ...], name: str, result: Result) -> dict[str, Any]:
    image = key[1] + escape_unprintable(result.name.removeprefix(name))
    row = dict(zip((*KEY, "image"), (*key, image), strict=True))
    row |= {"unsure": result.unsure, "reason": result.reason, "unlikeness": result.unlikeness}
    if isinstance(result, Value):
        return row | {"value": result.value}
    label, runner_up = escape_unprintable(result.label), escape_unprintable(result.runner_up)
    probabilities = {"probability": result.probability, "runner_up_probability": result.runner_up_probability}
    return row | {"label": label, "runner_up": runner_up} | probabilities


def main(argv: Sequence[str] | None = None) -> int:
    """Scores the images of a folder; skips files that were scored before."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict.score", description=main.__doc__)
    parser.add_argument("--model", required=True, help="name or path of a model")
    parser.add_argument("--folder", type=Path, required=True, help="images, arrays, and folders of them")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write, or to add to")
    parser.add_argument("--raw", action="store_true", help="use pixels as they are; images need the model's size")
    parser.add_argument(
        "--anyway", action="store_true", help="use the model although it failed a quality gate or is damaged"
    )
    parser.add_argument("--no-watch", action="store_true", help="do not compare the images with those of the training")
    arguments = parser.parse_args(argv)
    options = (arguments.raw, arguments.anyway, not arguments.no_watch)
    counts = score(arguments.model, arguments.folder, arguments.out, *options)
    print(f"score: {counts}", flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
