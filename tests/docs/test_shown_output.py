"""What pages show as the output of a command has the form that the command prints now."""

import re
from pathlib import Path

import pytest

from flows.cli.interactive_run import name_outputs
from flows.dvc_repo.repository import Repository
from stages.predict.results import Prediction
from stages.predict.text_output import Counts, Style, TextTable
from tests.support.root import ROOT

DOCS = ROOT / "docs"
PREDICT = re.compile(r"^\$ inkflow predict .*\n((?:(?!\$|```).*\n)+)", re.MULTILINE)
ANSWER = re.compile(r"([ ?]) (\S+) +(?:unsure: (.+)  \(perhaps )?(\S+)  ([\d.]+)(?:  \(|, )then (\S+)  ([\d.]+)\)")


@pytest.mark.parametrize("page", ["tutorial.md", "tutorial.zh-CN.md"])
def test_the_results_are_those_of_the_pipeline(page: str) -> None:
    """The line that ends a run of the default pipeline counts its outputs."""
    with Repository(ROOT) as repository:
        line = f"Results: {name_outputs(repository.stages())}"
    assert line in (DOCS / page).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("page", [DOCS / "overview.md", DOCS / "predict.md"], ids=lambda page: page.name)
def test_answers_have_the_form_of_predict(page: Path) -> None:
    """Header, marks, columns and the last line's count are those that `inkflow predict` prints."""
    (shown,) = PREDICT.findall(page.read_text(encoding="utf-8"))
    *table, summary = shown.splitlines()
    answers = [
        Prediction(name, label, float(first), second, float(share), mark == "?", reason)
        for mark, name, reason, label, first, second, share in map(_answer, table[1:])
    ]
    assert TextTable(Style((), {}), predicts_values=False).lines(answers).splitlines() == table
    counts = Counts(for_people=True)
    counts.add(answers)
    assert re.sub(r"\d+", "N", summary) == re.sub(r"\d+", "N", counts.summary)


def _answer(line: str) -> tuple[str, ...]:
    found = ANSWER.fullmatch(line)
    assert found, f"no line of inkflow predict: {line}"
    return tuple(text or "" for text in found.groups())
