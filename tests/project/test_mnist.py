"""The pipeline on the real MNIST, if a mirror has it."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Inkflow, Project
from tests.support.root import ROOT

MIRROR = Path(os.environ.get("INKFLOW_MIRROR") or ROOT / "../shared/data").resolve()

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.mnist,
    pytest.mark.skipif(not (MIRROR / "mnist.npz").is_file(), reason="needs mnist.npz in the folder INKFLOW_MIRROR"),
]


@pytest.mark.farm
def test_one_epoch_of_dense(project: Project, inkflow: Inkflow) -> None:
    """One epoch of `dense` on real MNIST reaches a plausible accuracy, and the data set has the recorded bytes."""
    dense = {"network": "dense", "units": [512], "optimizer": {"name": "rmsprop"}, "batch_size": 128, "epochs": 1}
    project.set({"dataset": "mnist", "prepare.samples": None, "models": {"dense": dense}})
    run = inkflow("run", "evaluate@dense", folder=project.folder, INKFLOW_MIRROR=str(MIRROR))
    assert run.returncode == 0, run.stdout + run.stderr
    assert 0.93 < json.loads(project.read("evaluation/dense/metrics.json"))["accuracy"] < 1
    digests = [line for line in project.read("dvc.lock").splitlines() if "md5:" in line]
    recorded = (ROOT / "dvc.lock").read_text(encoding="utf-8").splitlines()
    dataset = recorded[next(number for number, line in enumerate(recorded) if "path: data/raw/dataset.npz" in line) + 2]
    assert dataset in digests, "the bytes of the data set differ from those recorded in dvc.lock"
