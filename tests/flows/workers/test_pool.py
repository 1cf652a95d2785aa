"""Runs stages in a work pool on other hosts: which stages are sent, which are not, which are refused."""

import os
from pathlib import Path

import pytest

from tests.conftest import Toy
from tests.flows.workers.conftest import EMPTY_POOL, POOL, Clones
from tests.flows.workers.projects import TRAIN, write_project

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm, pytest.mark.timeout(900)]  # on a busy machine

IN_POOL = {"train@*": {"pool": POOL}}


def test_only_outdated_stages_are_sent(clones: Clones, toy: Toy) -> None:
    """A run without a cache sends each training, and a repeated run sends nothing. An edited stage is sent with the
    edit. Another clone restores its result from the remote. `--local` sends nothing.
    """
    project = clones.publish(write_project(toy, "sleep 4;"), IN_POOL)
    output = clones.inkflow("run", "--jobs", "1")
    assert clones.states() == ["COMPLETED"] * 3
    assert {project.read(f"where-{item}") for item in "pqr"} == {
        "one\n",
        "two\n",
    }  # a worker runs at most two at a time
    assert "epoch 1 of 1" in output
    assert f"train@p   ran on worker {project.read('where-p').strip()} of pool {POOL}" in output
    assert "up to date" in clones.status()
    assert "Nothing to do" in clones.inkflow("run")
    project.write({"train.sh": TRAIN + 'echo "$1 edited" >> $1.model\n'})
    clones.inkflow("run", "train@q", "--set", "q=2")
    assert len(clones.sent_runs()) == 4
    assert project.read("q.model").endswith("q: 2\nq edited\n")
    other = clones.clone_to(clones.folder / "other")
    other.write({name: project.read(name) for name in ("train.sh", "params.yaml", "dvc.lock")})
    clones.farm.orchestrator.check_output("dvc", "pull", "source", folder=other.folder)
    output = clones.start("run", "train@q", folder=other.folder).wait()
    assert "restored from the run cache" in output
    assert len(clones.sent_runs()) == 4
    assert other.read("q.model") == project.read("q.model")
    clones.inkflow("run", "train@p", "--local")
    assert len(clones.sent_runs()) == 4
    assert project.read("where-p") == "orchestrator\n"


def test_a_failure_on_a_worker_is_reported_as_a_local_one(clones: Clones, toy: Toy) -> None:
    """A stage that fails on a worker ends the run with its own message and exit code; later stages do not run."""
    clones.publish(write_project(toy, "echo error: no such luck; exit 9;"), IN_POOL)
    output = clones.inkflow("run", "train@p", code=9)
    assert "error: train@p failed (exit code 9): no such luck" in output
    assert clones.states() == ["FAILED"]


def test_missing_prerequisites_are_refused(clones: Clones, toy: Toy) -> None:
    """An ignored file, a missing remote, pool or server each give a sentence with the remedy and exit code 2, and
    nothing is sent.
    """
    write_project(toy)
    toy.write({"dvc.yaml": toy.read("dvc.yaml").replace("deps: [data, train.sh]", "deps: [data, train.sh, ignored]")})
    project = clones.publish(toy, {"train@p": {"pool": POOL}, "train@q": {"pool": "nowhere"}})
    project.write({"ignored": "secret\n"})
    assert "it reads ignored, which git does not track" in clones.inkflow("run", "train@p", code=2)
    clones.farm.orchestrator.check_output("git", "add", "--force", "ignored", folder=project.folder)
    output = clones.inkflow("run", "train@q", code=2)
    assert "has no pool of that name; create it with `prefect work-pool create nowhere --type process`" in output
    output = clones.inkflow("run", "train@q", code=2, PREFECT_API_URL="")
    assert "no Prefect server is named" in output
    clones.farm.orchestrator.check_output("dvc", "remote", "default", "--unset", folder=project.folder)
    output = clones.inkflow("run", "train@p", code=2)
    assert "train@p runs in a work pool, which exchanges data through a DVC remote: no DVC remote is" in output
    assert "add one: `dvc remote add -d NAME URL` (docs/remotes.md), or run it here with" in output
    assert clones.sent_runs() == []


def test_pool_without_workers(clones: Clones, toy: Toy) -> None:
    """A stage of a pool without workers fails after `pool_wait_s`, with the command that starts a worker."""
    clones.publish(write_project(toy), {"train@*": {"pool": EMPTY_POOL}})
    output = clones.inkflow("run", "train@p", code=1)
    assert f"the work pool {EMPTY_POOL} has had no worker for 3 s" in output
    assert f"prefect worker start --pool {EMPTY_POOL}" in output
    assert clones.states() == ["CANCELLED"]


def test_other_versions(clones: Clones, toy: Toy, tmp_path: Path) -> None:
    """A worker with another version of a package that decides results refuses the order, or warns."""
    project = clones.publish(write_project(toy), IN_POOL, versions_of=["python", "keras"])
    (tmp_path / "site/keras-0.1.dist-info").mkdir(parents=True)
    (tmp_path / "site/keras-0.1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 0.1\n")
    path = f"{tmp_path / 'site'}{os.pathsep}{clones.farm.orchestrator.environment['PYTHONPATH']}"
    output = clones.inkflow("run", "train@p", code=2, PYTHONPATH=path)
    assert "this worker has other versions of packages that decide results: keras 3." in output
    assert "instead of 0.1" in output
    project.write({"execution.yaml": project.read("execution.yaml") + "  other_versions: warn\n"})
    output = clones.inkflow("run", "train@p", PYTHONPATH=path)
    assert "warning: versions differ from the orchestrator's: keras" in output
