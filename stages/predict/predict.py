"""The work of `inkflow predict`: reads images, classifies them in batches, and writes one result an image.

Memory does not grow with the number of images.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.base.errors import EXIT_DONE, EXIT_INVALID, OutputError
from stages.base.files import replacing
from stages.model.tasks import STAND_IN
from stages.predict.classifier import Classifier, Prediction
from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.image_files import (
    LeftOut,
    count_images,
    escape_unprintable,
    report_left_out,
)
from stages.predict.inputs import expand, read
from stages.predict.model_standing import open_model

Results = list[Prediction | RejectedInput]
Write = Callable[[Results], None]
ROW_GROUP = 10_000  # rows of a row group in a Parquet file: each group has a header


def predict(model: str, files: Sequence[str], raw: bool, form: str, parquet: str | None, anyway: bool = False) -> int:
    """Classifies `files`, writes the results, and returns the exit code.

    Args:
        model: Name or path of a model.
        files: Images, arrays and folders; - is standard input.
        raw: Use pixels as they are.
        form: Format of standard output: text, csv or json.
        parquet: Path of a Parquet file to write instead.
        anyway: Use the model although it failed a quality gate.

    Raises:
        InkflowError: The model cannot be used, or the Parquet file cannot be written.
    """
    classifier, _ = open_model(model, anyway)
    marks = {STAND_IN: escape_unprintable(classifier.stand_in_for)} if classifier.stand_in_for else {}
    total = rejected = 0
    with _writer(form, parquet, marks) as write, _progress(classifier, files, parquet is not None) as advance:
        for results in classifier.predict(_read_all(classifier, files), raw):
            write(results)
            for result in results:
                if isinstance(result, RejectedInput):
                    print(escape_unprintable(f"error: {result.name}: {result.reason}"), file=sys.stderr)
                    rejected += 1
            total += len(results)
            advance(len(results))
    if rejected:
        print(f"{rejected} of {total} inputs could not be classified", file=sys.stderr)
    return EXIT_INVALID if rejected else EXIT_DONE


def _read_all(classifier: Classifier, files: Sequence[str]) -> Iterator[Images | RejectedInput]:
    for name in expand(classifier, files):
        if isinstance(name, RejectedInput):
            yield name
        elif isinstance(name, LeftOut):
            report_left_out(name)
        else:
            yield from read(classifier, name)


@contextmanager
def _writer(form: str, parquet: str | None, marks: Mapping[str, str]) -> Iterator[Write]:
    """Yields the function that writes a batch of results; `marks` are columns with the same value in each row."""
    if parquet is not None:
        with _parquet_writer(Path(parquet), marks) as write:
            yield write
    elif form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow((*Prediction._fields, *marks))
        yield lambda results: lines.writerows(
            (*_row(result), *marks.values()) for result in results if isinstance(result, Prediction)
        )
    else:
        format_result = _json_line if form == "json" else _text_line
        yield lambda results: print("".join(format_result(result, marks) for result in results), end="", flush=True)


def _row(prediction: Prediction) -> tuple[Any, ...]:
    """Returns the row for CSV and Parquet; the labels come from the model's file and can hold any character."""
    return tuple(escape_unprintable(value) if isinstance(value, str) else value for value in prediction)


def _text_line(result: Prediction | RejectedInput, marks: Mapping[str, str]) -> str:
    if isinstance(result, RejectedInput):  # it is on standard error
        return ""
    name, label, runner_up = map(escape_unprintable, (result.name, result.label, result.runner_up))
    mark = f"  [stand-in for {marks[STAND_IN]}]" if marks else ""
    second = f"(then {runner_up}  {result.runner_up_probability:.4f})"
    return f"{name}  {label}  {result.probability:.4f}  {second}{mark}\n"


def _json_line(result: Prediction | RejectedInput, marks: Mapping[str, str]) -> str:
    if isinstance(result, RejectedInput):
        return json.dumps({"name": result.name, "error": result.reason}) + "\n"
    return json.dumps(result._asdict() | dict(marks)) + "\n"


@contextmanager
def _parquet_writer(path: Path, marks: Mapping[str, str]) -> Iterator[Write]:
    """Yields a function that writes results to the Parquet file `path`, which appears when the block ends.

    Raises:
        OutputError: The file cannot be written.
    """
    import pyarrow as pa  # late: slow, and only for Parquet
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float32()
    columns = dict(zip(Prediction._fields, (text, text, number, text, number), strict=True))
    schema = pa.schema(columns | dict.fromkeys(marks, text))
    rows: list[dict[str, Any]] = []

    def write(results: Results, min_rows: int = ROW_GROUP) -> None:
        predictions = (result for result in results if isinstance(result, Prediction))
        rows.extend(
            dict(zip(Prediction._fields, _row(prediction), strict=True)) | dict(marks) for prediction in predictions
        )
        if len(rows) < min_rows:
            return
        try:
            table.write_table(pa.Table.from_pylist(rows, schema))
        except OSError as error:
            raise OutputError(path, error) from error
        rows.clear()

    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as table:
        yield write
        write([], min_rows=1)


@contextmanager
def _progress(classifier: Classifier, files: Sequence[str], to_file: bool) -> Iterator[Callable[[int], None]]:
    """Yields a function that advances a progress bar on standard error by a number of images.

    There is no bar if standard error is not a terminal, or if results scroll over the terminal unless `to_file`.
    """
    scrolls = sys.stdout.isatty() and not to_file
    if not sys.stderr.isatty() or scrolls or (len(files) == 1 and files[0] == "-"):
        yield lambda _: None
        return
    from rich.console import Console  # late: slow, and one picture needs no bar
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    total = None  # other samples are not counted in advance
    if classifier.form is None:
        total = sum(count_images(name) if isinstance(name, str) else 1 for name in expand(classifier, files))
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=total)
        yield lambda count: bar.advance(task, count)
