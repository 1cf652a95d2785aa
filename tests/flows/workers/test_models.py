"""The project's own models, trained in the pool: the same bytes as a local run's."""

import hashlib
import re
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.flows.workers.conftest import POOL, Clones

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that the pipeline made."""
    files = [path for name in ("models", "evaluation") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


TINY: dict[str, object] = {"optimizer": {"name": "adam"}, "batch_size": 64, "epochs": 1}
MODELS: dict[str, dict[str, object]] = {  # the five of params.yaml, small
    "dense": {"network": "dense", "units": [16]} | TINY,
    "dense_small": {"network": "dense", "units": [8]} | TINY,
    "dense_dropout": {"network": "dense", "units": [16], "dropout": 0.2} | TINY,
    "cnn_softmax": {"network": "cnn", "filters": [4], "units": [8]} | TINY,
    "cnn": {"network": "cnn", "filters": [4], "units": [8], "output": "logits"} | TINY,
}
LOCAL = ("evaluate@dense_dropout", "evaluate@cnn")


@pytest.mark.timeout(900)
def test_same_bytes(clones: Clones, project: Project) -> None:
    """A cold run sends the five trainings to workers, and uses both; here nothing was trained. They gave what a local
    run gives, byte for byte.
    """
    project.set({"models": MODELS})
    here = clones.publish(project, {"train@*": {"pool": POOL}})
    output = clones.inkflow("run", "--jobs", "1")
    assert clones.states() == ["COMPLETED"] * len(MODELS)
    assert set(re.findall(r"ran on worker (\w+) of pool", output)) == {"one", "two"}
    assert "up to date" in clones.status()
    assert not (here.folder / ".inkflow/checkpoints").exists()
    local = clones.another(clones.folder / "local")
    clones.begin("run", *LOCAL, "--local", "--jobs", "1", folder=local.folder).wait(timeout_s=600)
    assert len(clones.sent()) == len(MODELS)
    made = digests(local.folder)
    assert len(made) >= 2 * len(LOCAL)
    assert made.items() <= digests(here.folder).items()
