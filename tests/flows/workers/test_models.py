"""Trains the project's models in a pool: the outputs have the same bytes as those of a local run."""

import hashlib
import re
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.flows.workers.conftest import POOL, Clones

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm]


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each model file and evaluation file of the pipeline."""
    files = [path for name in ("models", "evaluation") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# With fewer epochs a model would be no better than the trivial answer on some processors, and the gate would fail.
TINY: dict[str, object] = {"optimizer": {"name": "adam"}, "batch_size": 32, "epochs": 5}
MODELS: dict[str, dict[str, object]] = {  # small versions of the five models in params.yaml
    "dense": {"network": "dense", "units": [16]} | TINY,
    "dense_small": {"network": "dense", "units": [8]} | TINY,
    "dense_dropout": {"network": "dense", "units": [16], "dropout": 0.2} | TINY,
    "cnn_softmax": {"network": "cnn", "filters": [4], "units": [8]} | TINY,
    "cnn": {"network": "cnn", "filters": [4], "units": [8], "output": "logits"} | TINY,
}
LOCAL = ("evaluate@dense_dropout", "evaluate@cnn")


@pytest.mark.timeout(900)
def test_same_bytes(clones: Clones, project: Project) -> None:
    """A run without a cache sends the five trainings to both workers and trains nothing locally; a local run writes
    the same bytes.
    """
    project.set({"models": MODELS})
    pooled = clones.publish(project, {"train@*": {"pool": POOL}})
    output = clones.inkflow("run", "--jobs", "1")
    assert clones.states() == ["COMPLETED"] * len(MODELS)
    assert set(re.findall(r"ran on worker (\w+) of pool", output)) == {"one", "two"}
    assert "up to date" in clones.status()
    assert not (pooled.folder / ".inkflow/checkpoints").exists()
    local = clones.clone_to(clones.folder / "local")
    clones.start("run", *LOCAL, "--local", "--jobs", "1", folder=local.folder).wait(timeout_s=600)
    assert len(clones.sent_runs()) == len(MODELS)
    local_digests = digests(local.folder)
    assert len(local_digests) >= 2 * len(LOCAL)
    assert local_digests.items() <= digests(pooled.folder).items()
