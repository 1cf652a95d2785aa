"""The real data set from end to end, wherever its mirror is."""

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


def test_one_epoch_of_dense(project: Project, inkflow: Inkflow) -> None:
    """One epoch of `dense` on real MNIST: downloaded, prepared, trained, examined; good, and not too good."""
    dense = {"network": "dense", "units": [512], "optimizer": {"name": "rmsprop"}, "batch_size": 128, "epochs": 1}
    project.set({"dataset": "mnist", "prepare.samples": None, "models": {"dense": dense}})
    run = inkflow("run", "evaluate@dense", folder=project.folder, INKFLOW_MIRROR=str(MIRROR))
    assert run.returncode == 0, run.stdout + run.stderr
    assert 0.93 < json.loads(project.read("evaluation/dense/metrics.json"))["accuracy"] < 1
    data = [line for line in project.read("dvc.lock").splitlines() if "md5:" in line]
    ours = (ROOT / "dvc.lock").read_text(encoding="utf-8").splitlines()
    made = ours[next(number for number, line in enumerate(ours) if "path: data/raw/dataset.npz" in line) + 2]
    assert made in data, "the data set has other bytes than the one that dvc.lock records"
