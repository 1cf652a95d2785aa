"""The lines that a display prints: short, and nothing twice."""

import io

from flows.cli.interactive_run import name_outputs
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.types import Outcome, Result, Stage
from tests.conftest import Toy
from tests.support.dvc_calls import track

RAN = Result("train", Outcome.RAN, ("epochs 5 → 3",))


def displayed(*lines: str) -> str:
    """Returns the display of a stage that starts, prints `lines` and has run."""
    stream = io.StringIO()
    display = Display(["train"], stream)
    display.started("train", None)
    for line in lines:
        display.line("train", line)
    display.result(RAN)
    return stream.getvalue()


def test_reasons_are_displayed_once() -> None:
    """The reasons of a stage are displayed exactly once: before its lines, or else with its result."""
    assert displayed("runs: epochs 5 → 3", "epoch 1/3") == (
        "  train | runs: epochs 5 → 3\n  train | epoch 1/3\n+ train   ran\n"
    )
    assert displayed("epoch 1/3", "runs: printed by the stage").endswith("+ train   ran: epochs 5 → 3\n")
    assert displayed() == "+ train   ran: epochs 5 → 3\n"


def test_reasons_after_a_failed_attempt() -> None:
    """The reasons displayed for a failed attempt do not suppress those of the next attempt."""
    stream = io.StringIO()
    display = Display(["train"], stream)
    display.started("train", None)
    display.line("train", "runs: epochs 5 → 3")
    display.failure("train", "train failed: out of memory")
    display.started("train", None)
    display.line("train", "epoch 1/3")
    display.result(RAN)
    assert stream.getvalue().endswith("+ train   ran: epochs 5 → 3\n")


def test_results_name_pages_and_texts() -> None:
    """Pages and texts are named first, the other results are counted; outputs that a stage reads are left out."""
    outputs = ("out/plots/a.csv", "out/b.csv", "out/summary.md", "out/c.parquet", "out/index.html")
    stages = [Stage("train", outputs=("model",)), Stage("report", ("train",), outputs)]
    assert name_outputs(stages) == "out/index.html, out/summary.md, out/plots/a.csv and 2 more"
    assert name_outputs([Stage("one", outputs=("x", "y"))]) == "x, y"


def test_data_that_dvc_tracks_is_no_result(toy: Toy) -> None:
    """Data of a .dvc file that no stage reads is not named as a result; the output of a stage is."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: echo 1 > out, outs: [out]}\n", "raw": "1\n"})
    track("raw")
    with Repository() as repository:
        assert name_outputs(repository.stages()) == "out"
