"""What a person sees of a run: each thing once, and short."""

import io

from flows.cli.interactive_run import results
from flows.engine.display.plain import Display
from flows.engine.types import Outcome, Result, Stage

RAN = Result("train", Outcome.RAN, ("epochs 5 → 3",))


def shown(*lines: str) -> str:
    """What is printed of a stage that begins, says `lines` and has run."""
    stream = io.StringIO()
    display = Display(["train"], stream)
    display.started("train", None)
    for line in lines:
        display.line("train", line)
    display.result(RAN)
    return stream.getvalue()


def test_reasons_are_said_once() -> None:
    """Why a stage runs stands before its lines, else at its end: never twice, never not at all."""
    assert shown("runs: epochs 5 → 3", "epoch 1/3") == (
        "  train | runs: epochs 5 → 3\n  train | epoch 1/3\n+ train   ran\n"
    )
    assert shown("epoch 1/3", "runs: its own words").endswith("+ train   ran: epochs 5 → 3\n")
    assert shown() == "+ train   ran: epochs 5 → 3\n"


def test_a_stage_that_is_tried_again_says_why_again() -> None:
    """What was said of an earlier try does not hide the reasons of a later one."""
    stream = io.StringIO()
    display = Display(["train"], stream)
    display.started("train", None)
    display.line("train", "runs: epochs 5 → 3")
    display.failure("train", "train failed: out of memory")
    display.started("train", None)
    display.line("train", "epoch 1/3")
    display.result(RAN)
    assert stream.getvalue().endswith("+ train   ran: epochs 5 → 3\n")


def test_results_are_what_is_opened_first() -> None:
    """Of many results the pages and texts are named, with the number of the others; what is read on is no result."""
    outputs = ("out/plots/a.csv", "out/b.csv", "out/summary.md", "out/c.parquet", "out/index.html")
    stages = [Stage("train", outputs=("model",)), Stage("report", ("train",), outputs)]
    assert results(stages) == "out/index.html, out/summary.md, out/plots/a.csv and 2 more"
    assert results([Stage("one", outputs=("x", "y"))]) == "x, y"
