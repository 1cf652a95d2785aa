"""The project's own models, trained in the pool: the same bytes as a local run's."""

import hashlib
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.remote.conftest import POOL, Clones

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that the pipeline made."""
    files = [path for name in ("models", "evaluation") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.timeout(900)
def test_same_bytes(clones: Clones, project: Project) -> None:
    """Trainings that went to workers gave what a local run gives, byte for byte; here nothing was trained."""
    here = clones.publish(project, {"train@*": {"pool": POOL}})
    clones.inkflow("run", "--jobs", "1")
    assert clones.states() == ["COMPLETED"] * 2
    assert "up to date" in clones.status()
    assert not (here.folder / ".inkflow/checkpoints").exists()
    local = clones.another(clones.folder / "local")
    clones.begin("run", "evaluate", "--local", "--jobs", "1", folder=local.folder).wait(timeout_s=600)
    assert len(clones.sent()) == 2
    assert digests(local.folder) == digests(here.folder)
