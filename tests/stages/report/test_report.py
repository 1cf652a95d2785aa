"""The report stage: its inputs, its errors, and equal bytes for equal inputs."""

import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.base.errors import DataError, ParamsError, exit_with
from stages.data.datasets import Arrays
from stages.report import report
from tests.stages.report.conftest import FEW
from tests.support.html_page import Page
from tests.support.report_data import Run, finish_run, small_digits
from tests.support.root import ROOT

OUTPUTS = (
    "gates.json",
    "index.html",
    "metrics.csv",
    "metrics.json",
    "metrics.parquet",
    "models.json",
    "plots/recall.csv",
    "plots/reliability.csv",
    "plots/scores.csv",
    "plots/scores.png",
    "ranking.json",
    "summary.md",
)


@pytest.fixture
def run(two_models: Run, tmp_path: Path) -> Run:
    """A copy of `two_models` that a test may change."""
    shutil.copytree(two_models.root, tmp_path / "run")
    return Run(tmp_path / "run")


def outputs(run: Run) -> dict[str, bytes]:
    """Returns the bytes of all files in the folder of the report."""
    files = sorted(path for path in run.out.rglob("*") if path.is_file())
    return {str(path.relative_to(run.out)): path.read_bytes() for path in files}


@pytest.mark.farm
def test_real_data_has_no_banner(run: Run) -> None:
    """Page and summary have no warning about a data set that is no stand-in."""
    run.edit("data/raw/dataset.json", stand_in_for=None)
    assert report.main(run.arguments()) == 0
    assert not Page((run.out / "index.html").read_text()).every("aside")
    assert "WARNING" not in (run.out / "summary.md").read_text()


def test_overfitting_has_a_note(run: Run) -> None:
    """A training accuracy above the interval of the test accuracy has the note over-fits where the loss rose."""
    for name, accuracy in (("dense", 1.0), ("cnn", 0.5)):
        run.edit(f"models/{name}/training.json", train={"loss": 0.0, "accuracy": accuracy})
        history = pd.read_csv(run.root / f"models/{name}/history.csv")
        rising = history.assign(val_loss=range(1, len(history) + 1))
        rising.to_csv(run.root / f"models/{name}/history.csv", index=False)
    assert report.main(run.arguments()) == 0
    lines = (run.out / "summary.md").read_text().splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    assert "over-fits" in rows["dense"]
    assert "over-fits" not in rows["cnn"]


def keep_copies_of_dense(run: Run, number: int) -> None:
    """Replaces the models of a run by `number` copies of `dense`."""
    params = json.loads((run.root / "params.yaml").read_text())
    names = [f"dense_{index}" for index in range(number)]
    for name in names:
        for folder in ("models", "evaluation"):
            shutil.copytree(run.root / folder / "dense", run.root / folder / name)
        run.edit(f"models/{name}/training.json", model=name)
    run.edit("params.yaml", models=dict.fromkeys(names, params["models"]["dense"]))


@pytest.mark.farm
def test_summary_stays_short_with_many_models(run: Run) -> None:
    """With 60 models the summary has under 60 lines and names the file with the other models."""
    keep_copies_of_dense(run, 60)
    assert report.main(run.arguments()) == 0
    summary = (run.out / "summary.md").read_text()
    assert len(summary.splitlines()) < 60
    assert "24 more in `reports/metrics.csv`" in summary
    assert summary.startswith("## Not enough evidence of a difference between the 60 models")


def test_removed_model_is_not_reported(run: Run) -> None:
    """A model that is no longer in params.yaml is not reported, even where its files still exist."""
    params = json.loads((run.root / "params.yaml").read_text())
    del params["models"]["cnn"]
    run.edit("params.yaml", models=params["models"])
    assert report.main(run.arguments()) == 0
    assert (run.root / "models/cnn/training.json").exists()
    assert sorted(Page((run.out / "index.html").read_text()).panels()) == ["dense"]
    assert "cnn" not in (run.out / "summary.md").read_text() + (run.out / "metrics.csv").read_text()


@pytest.mark.farm
def test_same_inputs_give_the_same_bytes(run: Run) -> None:
    """Another process writes the same bytes, and loads no TensorFlow."""
    before = outputs(run)
    shutil.rmtree(run.out)
    packages = set(packages_of_the_stage(run))
    assert outputs(run) == before
    assert set(before) == set(OUTPUTS)
    assert {"matplotlib", "jinja2"} <= packages
    assert not packages & {"tensorflow", "keras", "dvc", "prefect", "tkinter"}


def test_hostile_names_are_escaped(run: Run) -> None:
    """HTML and Markdown in titles, licences and class names is shown as text."""
    hostile = '<script>alert("x")</script> | `a` \n# b'
    names = ["<img src=x onerror=y>", *"123456789"]
    run.edit("data/raw/dataset.json", title=hostile, licence=hostile, class_names=names)
    assert report.main(run.arguments()) == 0
    page = Page((run.out / "index.html").read_text())
    assert len(page.every("script")) == 4  # the page's own
    assert len(page.every("img")) > 30
    assert not any("onerror" in attributes for _, attributes, _ in page.elements)
    assert page.every("title")[0][1].endswith('<script>alert("x")</script> | `a` # b')
    summary = (run.out / "summary.md").read_text()
    assert "<script" not in summary and "<img" not in summary and r"\| \`a\` \# b" in summary


def test_colour_images_are_shown_as_they_are(tmp_path: Path) -> None:
    """Images with three channels are shown in their colours, in dark mode too."""
    colour = finish_run(tmp_path, coloured(small_digits()), {"dense": (8,)}, epochs=1)
    assert report.main(colour.arguments()) == 0
    page = Page((colour.out / "index.html").read_text())
    assert len(page.every("img")) > 30 and not page.every("img", css="grey")


def coloured(arrays: Arrays) -> Arrays:
    """Returns grey images as (n, h, w, 3)."""
    return arrays._replace(
        x_train=np.stack([arrays.x_train] * 3, axis=-1), x_test=np.stack([arrays.x_test] * 3, axis=-1)
    )


def test_diverged_training_is_reported(run: Run) -> None:
    """A loss that is NaN is no error of the report, which says that the training diverged."""
    path = run.root / "models/dense/history.csv"
    pd.read_csv(path).assign(loss=np.nan, val_loss=np.nan).to_csv(path, index=False)
    assert report.main(run.arguments()) == 0
    assert "The validation loss was never a number" in (run.out / "index.html").read_text()


def change_predictions(run: Run, **columns: object) -> None:
    """Overwrites columns of a model's predictions."""
    path = run.root / "evaluation/dense/predictions.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)  # type: ignore[arg-type]


HISTORY = "models/dense/history.csv"
BAD: dict[str, tuple[Callable[[Run], object], str]] = {
    "no data card": (lambda run: (run.root / "data/raw/dataset.json").unlink(), r"dataset\.json: "),
    "no data": (lambda run: (run.root / "data/raw/dataset.npz").unlink(), r"dataset\.npz: "),
    "no training record": (
        lambda run: (run.root / "models/cnn/training.json").unlink(),
        r"models/cnn/training\.json: not found; run `inkflow run` to recreate it",
    ),
    "no history": (lambda run: (run.root / HISTORY).unlink(), r"history\.csv: not found"),
    "no predictions": (
        lambda run: (run.root / "evaluation/dense/predictions.parquet").unlink(),
        r"predictions\.parquet: not found",
    ),
    "not JSON": (
        lambda run: (run.root / "evaluation/dense/metrics.json").write_text("{"),
        r"metrics\.json: the file: Invalid JSON",
    ),
    "not text": (
        lambda run: (run.root / HISTORY).write_bytes(b"\xff\xfe\x00epoch"),
        r"history\.csv: ",
    ),
    "empty history": (lambda run: (run.root / HISTORY).write_text(""), r"history\.csv: cannot be read"),
    "words for numbers": (
        lambda run: (run.root / HISTORY).write_text("epoch,loss,accuracy,val_loss,val_accuracy\n1,a,1,1,1\n"),
        r"history\.csv: missing numeric columns: loss",
    ),
    "lost epoch": (
        lambda run: pd.read_csv(run.root / HISTORY)[:-1].to_csv(run.root / HISTORY, index=False),
        r"history\.csv: expected epochs 1 to 4",
    ),
    "not Parquet": (
        lambda run: (run.root / "evaluation/dense/predictions.parquet").write_bytes(b"PAR1 no"),
        r"predictions\.parquet: cannot be read",
    ),
    "lost key": (
        lambda run: (run.root / "evaluation/dense/metrics.json").write_text('{"accuracy": 1, "loss": 0}'),
        r"metrics\.json: errors: Field required",
    ),
    "impossible accuracy": (
        lambda run: run.edit("evaluation/dense/metrics.json", accuracy=1.5),
        r"metrics\.json: accuracy: ",
    ),
    "another model": (
        lambda run: run.edit("models/dense/training.json", model="cnn"),
        r"training\.json: model: got 'cnn', its folder says 'dense'",
    ),
    "another data set": (
        lambda run: run.edit("data/prepared/prepared.json", dataset="mnist"),
        r"prepared\.json: dataset: got 'mnist', .*dataset\.json says 'digits'",
    ),
    "data set not chosen": (
        lambda run: run.edit("params.yaml", dataset="mnist"),
        r"dataset\.json: name: got 'digits', params\.yaml says 'mnist'",
    ),
    "other errors": (
        lambda run: run.edit("evaluation/dense/metrics.json", errors=FEW - 1),
        rf"metrics\.json: errors: got {FEW - 1}, predictions\.parquet says",
    ),
    "other labels": (
        lambda run: change_predictions(run, label=np.zeros(FEW, np.int32)),
        rf"column label: expected the labels of the {FEW} test images",
    ),
    "unknown class": (
        lambda run: change_predictions(run, predicted=np.full(FEW, 10, np.int32)),
        r"column predicted: expected classes 0 to 9",
    ),
    "impossible probability": (
        lambda run: change_predictions(run, probability=np.full(FEW, np.nan, np.float32)),
        r"column probability: expected numbers from 0 to 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_changes_nothing(run: Run, case: str) -> None:
    """A missing or broken file, or one of another run, is named with the mistake; the last report does not change."""
    change, sentence = BAD[case]
    before = outputs(run)
    change(run)
    with pytest.raises(DataError, match=sentence) as raised:
        report.main(run.arguments())
    assert "\n" not in str(raised.value)
    assert outputs(run) == before


def test_bad_parameters_come_first(run: Run) -> None:
    """A mistake in params.yaml is reported before any other file is read."""
    run.edit("params.yaml", report={"smoothing": 1.0})
    shutil.rmtree(run.root / "data")
    with pytest.raises(ParamsError, match=r"report\.smoothing"):
        report.main(run.arguments())


def test_unwritable_file_changes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Page, summary and tables are replaced together or not at all; the exit code is 1 where they are not."""
    (run.out / "metrics.csv").unlink()
    (run.out / "metrics.csv/in the way").mkdir(parents=True)
    before = [(run.out / name).read_bytes() for name in ("index.html", "summary.md")]
    run.edit("data/raw/dataset.json", title="Another")
    assert exit_with(lambda: report.main(run.arguments())) == 1
    assert re.fullmatch(r"error: cannot write \S+metrics\.csv: .+\n", capsys.readouterr().err)
    assert [(run.out / name).read_bytes() for name in ("index.html", "summary.md")] == before
    assert {path.name for path in run.out.iterdir()} == {name.split("/")[0] for name in OUTPUTS}


def processor_seconds_of_children() -> float:
    """Returns the processor time of ended child processes, which does not depend on the load of the machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def packages_of_the_stage(run: Run) -> Iterator[str]:
    """Returns the top-level packages in memory at the end of the stage."""
    program = (
        "import sys; from stages.report import report; report.main(sys.argv[1:]);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", program, *run.arguments()]
    process = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    yield from process.stdout.splitlines()[-1].split()


@pytest.mark.farm
def test_stage_is_quick(run: Run) -> None:
    """A report of five models takes under 30 seconds of processor time with imports."""
    keep_copies_of_dense(run, 5)
    before = processor_seconds_of_children()
    assert list(packages_of_the_stage(run))
    assert processor_seconds_of_children() - before < 30
