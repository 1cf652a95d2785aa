"""What pages show as the output of a command has the form that the command prints now."""

import re
from pathlib import Path

import pytest

from flows.cli.interactive_run import name_outputs
from flows.cli.run_summary import end_of_run
from flows.dvc_repo.repository import Repository
from flows.engine.run import Run
from flows.engine.types import Outcome, Result
from stages.predict.results import Prediction
from stages.predict.text_output import Counts, Style, TextTable
from tests.docs.shell_blocks import pages
from tests.support.root import ROOT

DOCS = ROOT / "docs"
ANSWERS = re.compile(r"^(  image .*\n(?:[ ?] .*\n)+)(\d+ read.*)$", re.MULTILINE)
ANSWER = re.compile(r"([ ?]) (\S+) +(?:unsure: (.+)  \(perhaps )?(\S+)  ([\d.]+)(?:  \(|, )then (\S+)  ([\d.]+)\)")
ENDS = re.compile(r"^\d+ of \d+ stages ran.*$", re.MULTILINE)
WITH_ENDS = [page for page in pages() if ENDS.search(page.read_text(encoding="utf-8"))]
END = re.compile(r"(\d+) of (\d+) stages ran(?:, (\d+) restored)?(?:, \d+ unchanged)?, in (?:(\d+) min )?([\d.]+) s")


@pytest.mark.parametrize("page", ["tutorial.md", "tutorial.zh-CN.md"])
def test_the_results_are_those_of_the_pipeline(page: str) -> None:
    """The line that ends a run of the default pipeline counts its outputs."""
    with Repository(ROOT) as repository:
        line = f"Results: {name_outputs(repository.stages())}"
    assert line in (DOCS / page).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("page", WITH_ENDS, ids=lambda page: page.name)
def test_ends_of_runs_have_the_form_of_run(page: Path) -> None:
    """The line that ends a run counts the stages that ran, were restored and stayed, and says how long it took."""
    for line in ENDS.findall(page.read_text(encoding="utf-8")):
        found = END.fullmatch(line)
        assert found, f"no line of inkflow run: {line}"
        ran, total, restored, minutes = (int(text or 0) for text in found.groups()[:-1])
        counts = {Outcome.RAN: ran, Outcome.RESTORED: restored, Outcome.UNCHANGED: total - ran - restored}
        run = Run(results=[Result("x", outcome) for outcome, count in counts.items() for _ in range(count)])
        assert end_of_run(run, 60 * minutes + float(found[5])) == [line]


@pytest.mark.parametrize("page", ["overview.md", "predict.md", "tutorial.md", "tutorial.zh-CN.md"])
def test_answers_have_the_form_of_predict(page: str) -> None:
    """Header, marks, columns and the last line's count are those that `inkflow predict` prints."""
    ((shown, summary),) = ANSWERS.findall((DOCS / page).read_text(encoding="utf-8"))
    table = shown.splitlines()
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
