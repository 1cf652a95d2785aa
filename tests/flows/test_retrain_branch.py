"""A retraining that ends in a branch and a pull request: real repositories and servers, a forge on loopback."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.engine.run_record import read_records
from tests.conftest import Project, run_engine
from tests.flows.dvc_repo.test_remotes import commit
from tests.flows.engine.helpers import succeeded
from tests.flows.test_retrain import digests_of, mirror, short, write_dataset
from tests.support.commands import dvc, run_python
from tests.support.forge_server import TOKEN, ForgeServer

__all__ = ["mirror", "short"]  # fixtures
PROGRAM = (
    "from flows.retrain import retrain; state = retrain({options}, return_state=True); print(state.name, state.message)"
)


@pytest.fixture
def forge() -> Iterator[ForgeServer]:
    """A running forge."""
    with ForgeServer().running() as server:
        yield server


@pytest.fixture
def remotes(tmp_path: Path) -> Path:
    """A folder with a bare repository, `origin.git`, and an empty DVC remote, `store`."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")], check=True)
    return tmp_path


def publish(project: Project, remotes: Path) -> None:
    """Commits the project and pushes it to its new remotes."""
    dvc("remote", "add", "-q", "-d", "store", str(remotes / "store"))
    commit(project.folder)
    git("remote", "add", "origin", str(remotes / "origin.git"))
    git("push", "-q", "origin", "HEAD:refs/heads/main")


def git(*arguments: str) -> str:
    """Runs git in the current folder, and returns its output."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def retrain(prefect_url: str, home: Path, options: str = "branch=True", **variables: str) -> str:
    """Runs the flow in a process, and returns the name and the message of its state."""
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(home / "home")} | variables
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "INKFLOW_GITLAB_TOKEN"):
        environment = environment if name in variables else {k: v for k, v in environment.items() if k != name}
    process = run_python("-c", PROGRAM.format(options=options), environment=environment)
    assert process.returncode == 0, process.stderr
    assert TOKEN not in process.stdout + process.stderr
    return process.stdout.strip().splitlines()[-1]


@pytest.mark.server
@pytest.mark.timeout(900)  # a busy machine is slow
@pytest.mark.farm
def test_without_a_forge(short: Project, mirror: Path, tmp_path: Path, prefect_url: str) -> None:
    """Without a remote the branch is local, and the state says so; the working tree, with its changes, stays."""
    commit(short.folder)
    short.write({"README.md": "a change that is not committed\n"})
    new, before = write_dataset(mirror, label=3), git("status", "--porcelain=v2", "--branch")
    message = retrain(prefect_url, tmp_path)
    [name] = git("branch", "--list", "retrain/*", "--format=%(refname:short)").split()
    assert message.startswith("Completed 1 of 1 stages ran; committed to the branch retrain/mnist-")
    assert "it is only here: Git has no remote" in message
    assert [record["state"] for record in read_records(short.folder)] == ["done"]  # for `report --runs`
    assert git("status", "--porcelain=v2", "--branch") == before and digests_of(short) != new
    assert YAML(typ="safe").load(git("show", f"{name}:params.yaml"))["datasets"]["mnist"]["sha256"] == new
    assert git("diff", "--name-only", "HEAD", name).splitlines() == ["dvc.lock", "environment.lock", "params.yaml"]
    tip = git("rev-parse", name)
    assert "0 of 1 stages ran, 1 restored; committed to the branch" in retrain(prefect_url, tmp_path)
    assert git("rev-parse", name) == tip
    assert "fallback digits: a branch is for the new data" in retrain(
        prefect_url, tmp_path, "branch=True, fallback='digits'"
    )


@pytest.mark.server
@pytest.mark.timeout(900)  # a busy machine is slow
@pytest.mark.farm
@pytest.mark.parametrize("keeper", ["git", "DVC"])
def test_a_new_file_of_own_data_comes_along(short: Project, tmp_path: Path, prefect_url: str, keeper: str) -> None:
    """A branch, and an experiment that a person applies, have the new file or its record, not those of the earlier one;
    the new file stays in its place.
    """
    file = short.folder / "data/own/mine.npz"
    file.parent.mkdir(parents=True)
    entry = {"title": "Mine", "path": "data/own/mine.npz", "sha256": write_dataset(file)}
    short.set({"dataset": "mine", "datasets.mine": entry})
    if keeper == "DVC":
        dvc("add", "-q", str(file))
    else:
        git("add", "--force", str(file))
    commit(short.folder)
    file.unlink()  # else its object in the cache might be written
    write_dataset(file, label=3 if keeper == "git" else 4)  # the projects share a cache
    new = file.read_bytes()
    message = retrain(prefect_url, tmp_path)
    assert message.startswith("Completed 1 of ") and "committed to the branch retrain/mine-" in message
    [branch] = git("branch", "--list", "retrain/*", "--format=%(refname:short)").split()
    kept = "data/own/mine.npz.dvc" if keeper == "DVC" else "data/own/mine.npz"
    changed = git("diff", "--name-only", "HEAD", branch).splitlines()
    assert changed == [kept, "dvc.lock", "environment.lock", "params.yaml"]
    message = retrain(prefect_url, tmp_path, "branch=False")
    [name] = re.findall("`dvc exp apply (.+)`", message)
    dvc("exp", "apply", "-q", name)
    assert file.read_bytes() == new
    file.unlink()
    git("checkout", "-q", "--force", branch)
    dvc("checkout", "-q")
    assert file.read_bytes() == new


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.timeout(900)  # a busy machine is slow
def test_a_request_with_comparison_and_gates(
    project: Project, mirror: Path, remotes: Path, forge: ForgeServer, prefect_url: str
) -> None:
    """The request has the comparison as its text and the gates as statuses of its commit; the DVC remote has the files,
    so that another clone restores them; a second run updates the request; a forge that refuses leaves the branch.
    """
    project.set({"dataset": "mnist", "datasets.mnist.sha256": write_dataset(mirror)})
    succeeded(run_engine())
    publish(project, remotes)
    write_dataset(mirror, label=4)
    message = retrain(prefect_url, remotes, **forge.environment("GitHub"))
    assert f"pushed to origin; pull request 1 opened: {forge.url}/r/1" in message
    [request] = forge.requests.values()
    name = request["head"]
    assert (request["base"], request["title"]) == ("main", "Retrain on new data of mnist")
    assert "y_train of mnist changed at the source." in request["body"]
    assert "| model | before | retrained |" in request["body"] and "### Gates: " in request["body"]
    assert str(mirror) not in request["body"]
    sha = git("rev-parse", name)
    assert {commit for commit, _ in forge.statuses} == {sha} and {name for _, name in forge.statuses} >= {
        "inkflow/lower_bound",
        "inkflow/accepted",
    }
    clone = remotes / "clone"
    git("clone", "-q", "-b", name, str(remotes / "origin.git"), str(clone))
    dvc("pull", "-q", folder=clone)
    status = subprocess.run(["dvc", "status", "-q"], cwd=clone, capture_output=True, text=True)
    assert status.returncode == 0, status.stdout
    assert "pull request 1 updated" in retrain(prefect_url, remotes, **forge.environment("GitHub"))
    forge.answers["GET", "/projects/42/merge_requests"] = (403, {})
    message = retrain(prefect_url, remotes, **forge.environment("GitLab"))
    assert message.startswith("Failed ") and f"the branch {name} is kept here" in message and "403" in message
    assert git("rev-parse", name) == sha and git("branch", "--show-current") in ("main", "master")
