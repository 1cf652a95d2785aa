"""The work of `inkflow predict`: reads images, classifies them in batches, and writes one result an image.

Memory does not grow with the number of images.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
from stages.predict.model_standing import open_model, registered_as

Results = list[Prediction | RejectedInput]
Write = Callable[[Results], None]
ROW_GROUP = 10_000  # rows of a row group in a Parquet file: each group has a header


COLUMNS = Prediction._fields[:-1]  # of a table: each probability has a column of its own


class Style(NamedTuple):
    """What is written beside the fields of a Prediction.

    Attributes:
        marks: Columns with the same value in each row.
        classes: Names of the classes whose probabilities are written; none without `--all`.
        anyway: Write an answer where the model is unsure, too.
    """

    marks: Mapping[str, str]
    classes: tuple[str, ...] = ()
    anyway: bool = False


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
    style = Style(marks, classifier.class_names if every_class else (), anyway)
    total = rejected = 0
    with _writer(form, parquet, style) as write, _progress(classifier, files, parquet is not None) as advance:
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
def _writer(form: str, parquet: str | None, style: Style) -> Iterator[Write]:
    """Yields the function that writes a batch of results."""
    if parquet is not None:
        with _parquet_writer(Path(parquet), style) as write:
            yield write
    elif form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow((*COLUMNS, *style.marks, *_probability_columns(style)))
        yield lambda results: lines.writerows(
            (
                "" if value is None else str(value).lower() if isinstance(value, bool) else value
                for value in row.values()
            )
            for row in (_row(result, style) for result in results if isinstance(result, Prediction))
        )
    else:
        format_result = _json_line if form == "json" else _text_line
        yield lambda results: print("".join(format_result(result, style) for result in results), end="", flush=True)


def _probability_columns(style: Style) -> list[str]:
    return [f"p{number}" for number in range(len(style.classes))]


def _row(prediction: Prediction, style: Style) -> dict[str, Any]:
    """Returns the row for CSV and Parquet; the labels come from the model's file and can hold any character."""
    values = (escape_unprintable(value) if isinstance(value, str) else value for value in prediction[: len(COLUMNS)])
    probabilities = zip(_probability_columns(style), prediction.probabilities, strict=False)
    return dict(zip(COLUMNS, values, strict=True)) | dict(style.marks) | dict(probabilities)


def _text_line(result: Prediction | RejectedInput, style: Style) -> str:
    if isinstance(result, RejectedInput):  # it is on standard error
        return ""
    name, label, runner_up = map(escape_unprintable, (result.name, result.label, result.runner_up))
    mark = f"  [stand-in for {style.marks[STAND_IN]}]" if STAND_IN in style.marks else ""
    second = f"(then {runner_up}  {result.runner_up_probability:.4f})"
    answer = f"{label}  {result.probability:.4f}  {second}"
    if result.unsure and not style.anyway:
        answer = f"unsure: {result.reason}  (perhaps {label}  {result.probability:.4f}, {second[1:]}"
    pairs = zip(style.classes, result.probabilities, strict=False)
    every = ", ".join(f"{escape_unprintable(word)}: {probability:.4f}" for word, probability in pairs)
    return f"{name}  {answer}{f'  [{every}]' if every else ''}{mark}\n"


def _json_line(result: Prediction | RejectedInput, style: Style) -> str:
    if isinstance(result, RejectedInput):
        return json.dumps({"name": result.name, "error": result.reason, "unsure": True}) + "\n"
    fields: dict[str, Any] = dict(zip(COLUMNS, result, strict=False)) | dict(style.marks)
    if style.classes:
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
    columns = dict(zip(COLUMNS, (text, text, number, text, number, pa.bool_(), text, number), strict=True))
    schema = pa.schema(columns | dict.fromkeys(style.marks, text) | dict.fromkeys(_probability_columns(style), number))
    rows: list[dict[str, Any]] = []

    def write(results: Results, min_rows: int = ROW_GROUP) -> None:
        rows.extend(_row(result, style) for result in results if isinstance(result, Prediction))
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
