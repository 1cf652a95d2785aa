"""The work of `inkflow predict`: reads images, classifies them in batches, and writes one result an image.

Memory does not grow with the number of images.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.base.errors import EXIT_DONE, EXIT_INVALID, InvalidInput, OutputError
from stages.base.files import replacing
from stages.base.shown_text import csv_text
from stages.base.streams import tell
from stages.model.tasks import STAND_IN
from stages.predict.classifier import Classifier
from stages.predict.image_arrays import Images, RejectedInput
from stages.predict.image_files import (
    LeftOut,
    count_images,
    escape_unprintable,
    report_left_out,
)
from stages.predict.inputs import expand, read
from stages.predict.model_standing import open_model, registered_as
from stages.predict.results import Prediction, Result
from stages.predict.text_output import Counts, Style, TextTable, to_standard_output

Results = list[Result | RejectedInput]
Write = Callable[[Results], None]
ROW_GROUP = 10_000  # rows of a row group in a Parquet file: each group has a header


def predict(
    model: str,
    files: Sequence[str],
    raw: bool,
    form: str,
    parquet: str | None,
    anyway: bool = False,
    every_class: bool = False,
) -> int:
    """Classifies `files`, writes the results, and returns the exit code.

    Args:
        model: Name or path of a model.
        files: Images, arrays and folders; - is standard input.
        raw: Use pixels as they are.
        form: Format of standard output: text, csv or json.
        parquet: Path of a Parquet file to write instead.
        anyway: Answer where the model is unsure, and use a model that failed a quality gate.
        every_class: Write the probability of every class.

    Raises:
        InkflowError: The model cannot be used, or the Parquet file cannot be written.
    """
    classifier, _ = open_model(model, anyway)
    marks = {STAND_IN: escape_unprintable(classifier.stand_in_for)} if classifier.stand_in_for else {}
    marks |= registered_as(classifier.path)
    if every_class and classifier.predicts_values:
        raise InvalidInput(f"--all: {classifier.path} is a regression, which has no classes; leave the option out")
    style = Style(classifier.columns, marks, classifier.class_names if every_class else (), anyway)
    counts = Counts(for_people=form == "text")
    with (
        _writer(classifier, form, parquet, style) as write,
        _progress(classifier, files, parquet is not None) as advance,
    ):
        for results in classifier.predict(_read_all(classifier, files), raw):
            write(results)
            counts.add(results)
            advance(len(results))
    counts.print_refusals()
    if counts.summary:
        tell(counts.summary)
    return EXIT_INVALID if counts.refused else EXIT_DONE


def _read_all(classifier: Classifier, files: Sequence[str]) -> Iterator[Images | RejectedInput]:
    for name in expand(classifier, files):
        if isinstance(name, RejectedInput):
            yield name
        elif isinstance(name, LeftOut):
            report_left_out(name)
        else:
            yield from read(classifier, name)


@contextmanager
def _writer(classifier: Classifier, form: str, parquet: str | None, style: Style) -> Iterator[Write]:
    """Yields the function that writes a batch of results."""
    if parquet is not None:
        with _parquet_writer(Path(parquet), style) as write:
            yield write
    elif form == "csv":
        yield _csv_writer(style)
    else:
        table = TextTable(style, predicts_values=classifier.predicts_values)

        def write_lines(results: Results) -> None:
            text = "".join(_json_line(result, style) for result in results) if form == "json" else table.lines(results)
            with to_standard_output():
                print(text, end="", flush=True)

        yield write_lines


def _probability_columns(style: Style) -> list[str]:
    return [f"p{number}" for number in range(len(style.classes))]


def _csv_writer(style: Style) -> Write:
    """Prints the head of a table, and returns the function that prints its rows."""
    lines = csv.writer(sys.stdout, lineterminator="\n")

    def write(results: Results) -> None:
        rows = [_row(result, style).values() for result in results if not isinstance(result, RejectedInput)]
        with to_standard_output():
            lines.writerows(map(_csv_cell, row) for row in rows)

    with to_standard_output():
        lines.writerow((*style.columns, *style.marks, *_probability_columns(style)))
    return write


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return csv_text(value or "") if value is None or isinstance(value, str) else value


def _row(answer: Result, style: Style) -> dict[str, Any]:
    """Returns the row for CSV and Parquet; the labels come from the model's file and can hold any character."""
    fields = answer[: len(style.columns)]
    values = (escape_unprintable(value) if isinstance(value, str) else value for value in fields)
    probabilities = answer.probabilities if isinstance(answer, Prediction) else ()
    every = zip(_probability_columns(style), probabilities, strict=False)
    return dict(zip(style.columns, values, strict=True)) | dict(style.marks) | dict(every)


def _json_line(result: Result | RejectedInput, style: Style) -> str:
    if isinstance(result, RejectedInput):
        return json.dumps({"name": result.name, "error": result.reason, "unsure": True}) + "\n"
    fields: dict[str, Any] = dict(zip(style.columns, result, strict=False)) | dict(style.marks)
    if style.classes and isinstance(result, Prediction):
        fields["probabilities"] = dict(zip(style.classes, result.probabilities, strict=True))
    return json.dumps(fields) + "\n"


@contextmanager
def _parquet_writer(path: Path, style: Style) -> Iterator[Write]:
    """Yields a function that writes results to the Parquet file `path`, which appears when the block ends.

    Raises:
        OutputError: The file cannot be written.
    """
    import pyarrow as pa  # late: slow, and only for Parquet
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float32()
    kinds = dict.fromkeys(("name", "label", "runner_up", "reason"), text) | {"unsure": pa.bool_()}
    columns = {name: kinds.get(name, number) for name in style.columns}
    schema = pa.schema(columns | dict.fromkeys(style.marks, text) | dict.fromkeys(_probability_columns(style), number))
    rows: list[dict[str, Any]] = []

    def write(results: Results, min_rows: int = ROW_GROUP) -> None:
        rows.extend(_row(result, style) for result in results if not isinstance(result, RejectedInput))
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
