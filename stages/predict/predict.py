"""What `inkflow predict` does: files in, one answer an image out, in memory that does not grow with their number."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.base.errors import EXIT_DONE, EXIT_INVALID, OutputError
from stages.base.files import replacing
from stages.predict.classifier import Answer, find_model, open_classifier
from stages.predict.image_arrays import Images, Refusal
from stages.predict.image_files import count, found, printable, read

Results = list[Answer | Refusal]
Write = Callable[[Results], None]
ROWS = 10_000  # in a group of a Parquet file: of small groups each has a head of its own


def predict(model: str, arguments: Sequence[str], raw: bool, form: str, parquet: str | None) -> int:
    """Classify the files that `arguments` name and say it in `form`; gives the exit code.

    Raises:
        InkflowError: the model cannot be used, or the Parquet file cannot be written.
    """
    classifier = open_classifier(find_model(model))
    good = bad = 0
    with _writer(form, parquet) as write, _progress(arguments, beside=parquet is not None) as advance:
        for results in classifier.answers(_pieces(arguments), raw):
            write(results)
            refused = [result for result in results if isinstance(result, Refusal)]
            for refusal in refused:
                print(printable(f"error: {refusal.name}: {refusal.reason}"), file=sys.stderr)
            bad += len(refused)
            good += len(results) - len(refused)
            advance(len(results))
    if bad:
        print(f"{bad} of {good + bad} inputs could not be classified", file=sys.stderr)
    return EXIT_INVALID if bad else EXIT_DONE


def _pieces(arguments: Sequence[str]) -> Iterator[Images | Refusal]:
    for name in found(arguments):
        if isinstance(name, Refusal):
            yield name
        else:
            yield from read(name)


@contextmanager
def _writer(form: str, parquet: str | None) -> Iterator[Write]:
    """What takes the results, some at a time."""
    if parquet is not None:
        with _parquet(Path(parquet)) as write:
            yield write
    elif form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(Answer._fields)
        yield lambda results: lines.writerows(_row(result) for result in results if isinstance(result, Answer))
    else:
        say = _json if form == "json" else _text
        yield lambda results: print("".join(map(say, results)), end="", flush=True)


def _row(answer: Answer) -> tuple[Any, ...]:
    """What CSV and Parquet hold; the labels come from the model's file, which may hold anything."""
    return tuple(printable(part) if isinstance(part, str) else part for part in answer)


def _text(result: Answer | Refusal) -> str:
    """One line for a person; a refusal is said on standard error."""
    if isinstance(result, Refusal):
        return ""
    first, second = (printable(name) for name in (result.label, result.runner_up))
    return (
        f"{printable(result.name)}  {first}  {result.probability:.4f}  "
        f"(then {second}  {result.runner_up_probability:.4f})\n"
    )


def _json(result: Answer | Refusal) -> str:
    named = {"name": result.name, "error": result.reason} if isinstance(result, Refusal) else result._asdict()
    return json.dumps(named) + "\n"


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    """A Parquet file at `path` that is there when all is done, and not before.

    Raises:
        OutputError: it cannot be written.
    """
    import pyarrow as pa  # slow, and only for Parquet
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float32()
    kinds = dict(zip(Answer._fields, (text, text, number, text, number), strict=True))
    schema = pa.schema(list(kinds.items()))
    rows: list[dict[str, Any]] = []

    def write(results: Results, least: int = ROWS) -> None:
        rows.extend(dict(zip(kinds, _row(result), strict=True)) for result in results if isinstance(result, Answer))
        if len(rows) < least:
            return
        try:
            table.write_table(pa.Table.from_pylist(rows, schema))
        except OSError as error:
            raise OutputError(path, error) from error
        rows.clear()

    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as table:
        yield write
        write([], least=1)


@contextmanager
def _progress(arguments: Sequence[str], beside: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where somebody looks at it and the answers, unless `beside` in a file, do not go by."""
    going_by = sys.stdout.isatty() and not beside
    if not sys.stderr.isatty() or going_by or (len(arguments) == 1 and arguments[0] == "-"):
        yield lambda _: None
        return
    from rich.console import Console  # costs time, and one picture needs no bar
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    total = sum(1 if isinstance(name, Refusal) else count(name) for name in found(arguments))
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=total)
        yield lambda done: bar.advance(task, done)
