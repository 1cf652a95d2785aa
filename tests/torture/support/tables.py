"""Tables with texts of others: the answers of a model, the files that it refused, and the trials of a search."""

from collections.abc import Mapping
from pathlib import Path

from flows.experiments.search.report import _write_table
from stages.predict.image_arrays import RejectedInput
from stages.predict.image_files import LeftOut, report_left_out
from stages.predict.predict import _csv_writer
from stages.predict.results import Prediction
from stages.predict.score import _write_errors
from stages.predict.text_output import Counts, Style, TextTable

Texts = Mapping[str, str]  # by door


def _answer(texts: Texts) -> Prediction:
    return Prediction(texts["file"], texts["class"], 0.9, texts["class"], 0.1, True, "x", None, (0.9, 0.1))


def predictions(texts: Texts) -> None:
    """Prints an answer for people, a refused picture and a file that was left out."""
    counts = Counts(for_people=True)
    counts.add([RejectedInput(texts["file"], texts["picture"])])
    counts.print_refusals()
    report_left_out(LeftOut(texts["file"], texts["picture"]))
    style = Style(("name", "label"), {}, (texts["class"], "b"))
    print(TextTable(style, predicts_values=False).lines([_answer(texts)]))


def predictions_csv(texts: Texts) -> None:
    """Prints an answer as CSV."""
    _csv_writer(Style(("name", "label"), {}, (texts["class"], "b")))([_answer(texts)])


def refused_files(texts: Texts) -> str:
    """Returns the table of the files that a score refused."""
    path = Path("refused.csv")
    _write_errors(path, [RejectedInput(texts["file"], texts["picture"])])
    return path.read_text(encoding="utf-8")


def trials(texts: Texts) -> str:
    """Returns the table of a search whose one trial failed."""
    path = Path("trials.csv")
    _write_table([{"trial": 1, texts["parameter"]: texts["value"], "message": texts["error of a stage"]}], path)
    return path.read_text(encoding="utf-8")
