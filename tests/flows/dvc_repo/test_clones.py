"""Clones of a project: what they have of its settings, so that stages and experiments work in them."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from dvc.config import Config

from flows.core.git import git_text, head_commit, run_git
from flows.core.project import MIRROR, PROJECT, name_places
from flows.dvc_repo.remote.stage_transfer import configure
from flows.dvc_repo.versions.experiments import ProjectClones, save_experiment
from stages.data.config import Dataset
from stages.download.sources import list_sources
from tests.conftest import Toy
from tests.flows.dvc_repo.test_remotes import commit

ONE = "stages:\n  a: {cmd: cat in, deps: [in]}\n"


@pytest.fixture
def project(toy: Toy) -> Path:
    """A committed project with a stage without outputs; git's settings name nobody."""
    toy.write({"dvc.yaml": ONE, "in": "one\n"})
    commit(toy.folder)
    return toy.folder


@contextmanager
def usual_umask() -> Iterator[None]:
    """Lets new files be readable for other users, as they are on most machines."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("settings", "author"),
    [
        ({}, "Inkflow <inkflow@localhost>"),
        ({"user.name": "Ada Lovelace", "user.email": "ada@example.com"}, "Ada Lovelace <ada@example.com>"),
        ({"user.name": "Ada Lovelace"}, "Ada Lovelace <inkflow@localhost>"),
        ({"user.email": "ada@example.com"}, "Inkflow <ada@example.com>"),
    ],
    ids=["none", "both", "name", "address"],
)
def test_experiments_have_the_identity_of_the_repository(project: Path, settings: dict[str, str], author: str) -> None:
    """The commit of an experiment names the person of the project's own settings, whom git does not know elsewhere."""
    for key, value in settings.items():
        run_git(["config", key, value], project)
    clones = ProjectClones(project)
    with clones.clone("run") as clone:
        with chdir(clone):
            save_experiment("one", [], [])
        clones.fetch_experiment(clone, "one")
    head = head_commit(project)
    experiment = f"refs/exps/{head[:2]}/{head[2:]}/one"
    assert git_text(["log", "-1", "--format=%an <%ae>", experiment], project) == author


def test_credentials_stay_this_user_s(project: Path) -> None:
    """A clone has the passwords of remotes and the address of origin in files that no other user can read."""
    local = project / ".dvc/config.local"
    local.write_text("['remote \"store\"']\n    url = https://example.com/store\n    password = hunter2\n")
    local.chmod(0o600)
    run_git(["config", "remote.origin.url", "https://me:token@example.com/p.git"], project)
    (project / ".git/config").chmod(0o600)
    clones = ProjectClones(project)
    with usual_umask(), clones.clone("run") as clone:
        clones.copy_origin(clone)
        files = {clone / ".dvc/config.local": "hunter2", clone / ".git/config": "me:token@"}
        for file, secret in files.items():
            assert (secret in file.read_text(), oct(file.stat().st_mode & 0o777)) == (True, "0o600")


@pytest.mark.parametrize("variable", [None, "/elsewhere"])
def test_programs_in_a_clone_know_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    """A stage in a clone finds own data and the mirror, also if a worker was started by hand or elsewhere."""
    monkeypatch.setenv(PROJECT, variable or "")  # restored after the test
    if variable is None:
        monkeypatch.delenv(PROJECT)
    monkeypatch.setenv(MIRROR, "mirror")
    own = project / "data/own/mine.npz"
    own.parent.mkdir(parents=True)
    own.touch()
    digests = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), "0" * 64)
    dataset = Dataset.model_validate({"title": "Mine", "path": "data/own/mine.npz", "sha256": digests})
    with ProjectClones(project).clone("run") as clone, chdir(clone):
        places = [source.location for source in list_sources("mine", dataset, os.environ)]
    assert places == [str(own), str(project / "mirror/mine.npz")]


@pytest.mark.parametrize("mirror", ["https://example.com/data", ""])
def test_a_mirror_that_no_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    """An address of a mirror stays as it is set, and so does none."""
    monkeypatch.setenv(MIRROR, mirror)
    monkeypatch.setenv(PROJECT, "")  # restored after the test
    name_places(tmp_path)
    assert (os.environ[MIRROR], os.environ[PROJECT]) == (mirror, str(tmp_path))


@pytest.mark.parametrize("damaged", ["['remote \"r", "\0" * 40], ids=["cut", "zeros"])
def test_a_worker_s_damaged_settings_are_written_again(project: Path, tmp_path: Path, damaged: str) -> None:
    """A worker's clone whose local settings a power cut has cut off is configured as a new one is."""
    local = project / ".dvc/config.local"
    configure(project, tmp_path / "home", {"store": "/store"})
    content = local.read_bytes()
    local.write_text(damaged)
    configure(project, tmp_path / "home", {"store": "/store"})
    assert local.read_bytes() == content
    assert Config(str(project / ".dvc"))["remote"]["store"]["url"] == "/store"
