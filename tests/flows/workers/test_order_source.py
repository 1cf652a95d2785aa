"""The repository that an order names: the address from which git fetches origin, without secrets."""

from pathlib import Path

import pytest

from flows.core.errors import CannotBeSent
from flows.core.git import run_git
from flows.dvc_repo.versions.experiments import ProjectClones
from flows.prefect_server import pull_steps
from flows.tasks.assets import asset_key
from flows.workers.order import code_fields
from tests.conftest import Toy
from tests.flows.dvc_repo.test_remotes import commit

INSTEAD = "url.https://me:hunter22@git.example/.insteadOf"
MALFORMED = ("https://[bad/r.git", "https://me:hunter22@[bad/r.git", "https://me:hunt/er22@host/r.git")


@pytest.fixture
def project(toy: Toy) -> Path:
    """Returns the folder of a project whose commit is on origin."""
    toy.write({"dvc.yaml": "stages: {a: {cmd: cp in out, deps: [in], outs: [out]}}\n", "in": ""})
    commit(toy.folder)
    run_git(["update-ref", "refs/remotes/origin/main", "HEAD"], toy.folder)
    return toy.folder


def source(project: Path, origin: str) -> str:
    """Returns the address in an order for a stage of the project, whose origin has the address `origin`."""
    run_git(["config", "remote.origin.url", origin], project)
    return code_fields(project, [], "a")["source"]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://me:secret@host/p.git", "https://host/p.git"),
        ("https://token@host/p.git", "https://host/p.git"),
        ("https://host/p.git?private_token=hunter22", "https://host/p.git"),
        ("https://me:secret@host/p.git?a=b#token=hunter22", "https://host/p.git"),
        ("https://host/p.git?a=b", "https://host/p.git?a=b"),
        ("ssh://git@host/p.git", "ssh://git@host/p.git"),
        ("ssh://git:secret@host:22/p.git", "ssh://git@host:22/p.git"),
        ("ssh://host/p.git", "ssh://host/p.git"),
        ("git@host:p.git", "git@host:p.git"),
        ("git://host/p.git", "git://host/p.git"),
        ("/srv/p.git", "/srv/p.git"),
        ("gh:me/p.git", "https://git.example/me/p.git"),
    ],
)
def test_no_credentials_are_sent(project: Path, origin: str, expected: str) -> None:
    """The address is that of `git remote get-url`, without the password or token in it, or that `insteadOf` adds."""
    run_git(["config", INSTEAD, "gh:"], project)
    assert source(project, origin) == expected


@pytest.mark.parametrize("origin", MALFORMED)
def test_malformed_addresses_are_refused(project: Path, origin: str) -> None:
    """An address that is no URL is refused in one sentence without its password, in an order and in a deployment."""
    with pytest.raises(CannotBeSent, match="cannot be sent to a worker: the address of origin is https://") as sent:
        source(project, origin)
    with pytest.raises(ValueError, match="INKFLOW_REPOSITORY https://") as deployed:
        pull_steps.address(origin)
    for error in (sent, deployed):
        assert not {"hunt", "er22"} & set(str(error.value).replace("/", " ").replace("@", " ").split()), error.value


def test_a_clone_has_the_address_of_the_project(project: Path) -> None:
    """In the clone of a trial or a nightly run an order names the project's address, whose `insteadOf` it lacks."""
    run_git(["config", INSTEAD, "gh:"], project)
    run_git(["config", "remote.origin.url", "gh:me/p.git"], project)
    clones = ProjectClones(project)
    with clones.clone("run") as clone:
        clones.copy_origin(clone)
        assert code_fields(clone, [], "a")["source"] == "https://git.example/me/p.git"


def test_the_name_of_a_project_has_no_token(project: Path) -> None:
    """The keys of assets, which Prefect stores, have the name of the repository alone."""
    run_git(["config", "remote.origin.url", "https://host/p.git?private_token=hunter22"], project)
    assert asset_key("out") == "dvc://p/out"
