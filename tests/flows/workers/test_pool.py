"""Stages in a work pool on other machines: what is sent, what is not, what is refused before anything is sent."""

import os
from pathlib import Path

import pytest

from tests.conftest import Toy
from tests.flows.workers.conftest import EMPTY, POOL, Clones
from tests.flows.workers.toys import TRAIN, write

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm]

IN_POOL = {"train@*": {"pool": POOL}}


def test_only_what_has_to_run_is_sent(clones: Clones, toy: Toy) -> None:
    """A cold run sends each training and ends clean; then nothing is sent; then what was edited, with the edit; what
    another clone has done is restored from the remote, and --local sends nothing.
    """
    project = clones.publish(write(toy, "sleep 4;"), IN_POOL)
    output = clones.inkflow("run", "--jobs", "1")
    assert clones.states() == ["COMPLETED"] * 3
    assert {project.read(f"where-{item}") for item in "pqr"} == {"one\n", "two\n"}  # three do not fit one worker
    assert "epoch 1 of 1" in output
    assert f"train@p   ran on worker {project.read('where-p').strip()} of pool {POOL}" in output
    assert "up to date" in clones.status()
    assert "Nothing to do" in clones.inkflow("run")
    project.write({"train.sh": TRAIN + 'echo "$1 edited" >> $1.model\n'})
    clones.inkflow("run", "train@q", "--set", "q=2")
    assert len(clones.sent()) == 4
    assert project.read("q.model").endswith("q: 2\nq edited\n")
    other = clones.another(clones.folder / "other")
    other.write({name: project.read(name) for name in ("train.sh", "params.yaml", "dvc.lock")})
    clones.farm.orchestrator.do("dvc", "pull", "source", folder=other.folder)
    output = clones.begin("run", "train@q", folder=other.folder).wait()
    assert "restored from the run cache" in output
    assert len(clones.sent()) == 4
    assert other.read("q.model") == project.read("q.model")
    clones.inkflow("run", "train@p", "--local")
    assert len(clones.sent()) == 4
    assert project.read("where-p") == "orchestrator\n"


def test_a_failure_is_told_as_if_it_happened_here(clones: Clones, toy: Toy) -> None:
    """A stage that fails on a worker fails with its own words and exit code; what had to come after does not run."""
    clones.publish(write(toy, "echo error: no such luck; exit 9;"), IN_POOL)
    output = clones.inkflow("run", "train@p", code=9)
    assert "error: train@p failed (exit code 9): no such luck" in output
    assert clones.states() == ["FAILED"]


def test_what_a_worker_cannot_see_is_refused(clones: Clones, toy: Toy) -> None:
    """A file that git ignores, a missing remote, pool or server: each a sentence with what to do, exit code 2, and
    nothing is sent.
    """
    write(toy)
    toy.write({"dvc.yaml": toy.read("dvc.yaml").replace("deps: [data, train.sh]", "deps: [data, train.sh, ignored]")})
    project = clones.publish(toy, {"train@p": {"pool": POOL}, "train@q": {"pool": "nowhere"}})
    project.write({"ignored": "secret\n"})
    assert "it reads ignored, which git does not know" in clones.inkflow("run", "train@p", code=2)
    clones.farm.orchestrator.do("git", "add", "--force", "ignored", folder=project.folder)
    output = clones.inkflow("run", "train@q", code=2)
    assert "has none of that name; create it with `prefect work-pool create nowhere --type process`" in output
    output = clones.inkflow("run", "train@q", code=2, PREFECT_API_URL="")
    assert "no Prefect server is named" in output
    clones.farm.orchestrator.do("dvc", "remote", "default", "--unset", folder=project.folder)
    output = clones.inkflow("run", "train@p", code=2)
    assert "train@p runs in a work pool, and data goes there and back by a DVC remote: no DVC remote" in output
    assert "name one: `dvc remote add -d NAME URL` (docs/remotes.md), or run it here with" in output
    assert clones.sent() == []


def test_pool_without_workers(clones: Clones, toy: Toy) -> None:
    """A pool that has no worker fails the stage after the stated time, with the command that starts one."""
    clones.publish(write(toy), {"train@*": {"pool": EMPTY}})
    output = clones.inkflow("run", "train@p", code=1)
    assert f"the work pool {EMPTY} has no worker since 3 s" in output
    assert f"prefect worker start --pool {EMPTY}" in output
    assert clones.states() == ["CANCELLED"]


def test_other_versions(clones: Clones, toy: Toy, tmp_path: Path) -> None:
    """A worker with another version of what decides results refuses, naming package and versions; or warns."""
    project = clones.publish(write(toy), IN_POOL, versions_of=["python", "keras"])
    (tmp_path / "site/keras-0.1.dist-info").mkdir(parents=True)
    (tmp_path / "site/keras-0.1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 0.1\n")
    path = f"{tmp_path / 'site'}{os.pathsep}{clones.farm.orchestrator.environment['PYTHONPATH']}"
    output = clones.inkflow("run", "train@p", code=2, PYTHONPATH=path)
    assert "this worker has other versions of what decides results: keras 3." in output
    assert "instead of 0.1" in output
    project.write({"execution.yaml": project.read("execution.yaml") + "  other_versions: warn\n"})
    output = clones.inkflow("run", "train@p", PYTHONPATH=path)
    assert "warning: other versions than the orchestrator's: keras" in output
