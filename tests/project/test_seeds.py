"""A model with several seeds in the whole pipeline: one more seed trains one more model, with each program."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from flows.engine.display.plain import Display
from tests.conftest import Project, run_engine

pytestmark = pytest.mark.slow


def run(*command: str, folder: Path) -> str:
    """Returns the output of a command in `folder`, which must succeed."""
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def trained(log: str) -> list[str]:
    """Returns the seeds that were trained, from the log."""
    return re.findall(r"dense, seed (\d+): training on", log)


def commit(folder: Path) -> None:
    """Commits everything in `folder`."""
    run("git", "add", "-A", folder=folder)
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", folder=folder)


@pytest.mark.timeout(900)
@pytest.mark.farm
def test_one_more_seed_trains_one_model(project: Project, tmp_path: Path) -> None:
    """With `dvc repro` a further seed trains one model, also in a new clone after `dvc pull`."""
    project.set({"models.dense.seeds": [0, 1]})
    assert trained(run("dvc", "repro", "train@dense", folder=project.folder)) in ([], ["0", "1"])
    run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"), folder=project.folder)
    run("dvc", "push", "--with-deps", "train@dense", folder=project.folder)
    commit(project.folder)
    project.set({"models.dense.seeds": [0, 1, 2]})
    assert trained(run("dvc", "repro", "train@dense", folder=project.folder)) == ["2"]

    clone = Project.__new__(Project)
    clone.folder = tmp_path / "clone"
    run("git", "clone", "-q", str(project.folder), str(clone.folder), folder=tmp_path)
    run("dvc", "pull", "--with-deps", "train@dense", folder=clone.folder)
    clone.set({"models.dense.seeds": [0, 1, 4]})
    assert trained(run("dvc", "repro", "train@dense", folder=clone.folder)) == ["4"]


@pytest.mark.timeout(900)
@pytest.mark.farm
def test_the_engine_keeps_and_restores_seeds(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """In a run a further seed trains one model; a list of seeds that was there before is restored without training."""
    project.set({"models.dense.seeds": [0, 1]})
    run_engine("train@dense")
    project.set({"models.dense.seeds": [0, 1, 3]})
    capfd.readouterr()
    assert "train@dense" in run_engine("evaluate@dense", display=Display()).ran
    assert trained(capfd.readouterr().out) == ["3"]
    columns = pd.read_parquet("evaluation/dense/predictions.parquet").columns
    assert [name for name in columns if name.startswith("seed_")] == ["seed_0", "seed_1", "seed_3"]
    project.set({"models.dense.seeds": [0, 1]})
    assert "train@dense" not in run_engine("train@dense").ran
    assert sorted(path.name for path in Path("models/dense/seeds").iterdir()) == ["0", "1"]
