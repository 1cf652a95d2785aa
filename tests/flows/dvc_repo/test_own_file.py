"""Runs in clones whose own data are new: the result has the content that its digests name, and its record too."""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.core.params_edit import load_project_params
from flows.dvc_repo.versions.experiments import ProjectClones, save_experiment, stage_results
from flows.dvc_repo.versions.own_file import bring_own_data
from stages.base.errors import InvalidInput
from tests.conftest import Toy
from tests.flows.core.test_own_data import PARAMS
from tests.flows.dvc_repo.test_remotes import commit
from tests.flows.test_retrain_branch import git
from tests.flows.test_sweep import run_sweep
from tests.support import dvc_calls
from tests.support.root import ROOT

FILE = "data/own/pets.npz"


@pytest.fixture
def pets(toy: Toy) -> Toy:
    """A project with the own data `pets`, which nothing tracks yet."""
    toy.write({"params.yaml": PARAMS, FILE: "old"})
    shutil.copyfile(ROOT / "params.schema.json", "params.schema.json")
    return toy


def replace(content: str = "new") -> None:
    """Puts another file in the place of that of the data set, which may be a link into the cache."""
    Path(FILE).unlink()
    Path(FILE).write_text(content)


@contextmanager
def clone_with_data(root: Path, *, committed: bool) -> Iterator[ProjectClones]:
    """Makes a clone in which its own data are as in the project; it is the current folder."""
    clones = ProjectClones(root, committed=committed)
    clones.folder.mkdir(parents=True, exist_ok=True)
    with clones.clone("run") as project, chdir(project):
        bring_own_data(root, Path(), load_project_params(Path()))
        yield clones


def test_an_experiment_brings_the_new_file(pets: Toy) -> None:
    """`dvc exp apply` of a result with new data leaves the new file in its place, and DVC's record names it."""
    dvc_calls.track(FILE)
    commit(pets.folder)
    replace()
    with clone_with_data(pets.folder, committed=False) as clones:
        save_experiment("retrained", [], [])
        clones.fetch_experiment(Path(), "retrained")
    with Repo() as repo:
        assert [out.changed_checksum() for out in repo.index.outs if out.stage.is_data_source] == [True]
        repo.experiments.apply("retrained")
    assert pets.read(FILE) == "new"
    Path(FILE).unlink()
    with Repo() as repo:
        repo.checkout()
    assert pets.read(FILE) == "new"


@pytest.mark.farm
def test_a_trial_of_a_sweep_has_the_new_file(pets: Toy) -> None:
    """After `inkflow data add --replace` alone, the stages of a trial read the new file; its experiment names it."""
    pets.write({"dvc.yaml": f"stages: {{copy: {{cmd: cp {FILE} out, deps: [{FILE}], outs: [out]}}}}\n"})
    dvc_calls.track(FILE)
    commit(pets.folder)
    replace()
    [trial] = run_sweep(pets.folder, "models.dense.epochs=2")
    assert (trial.state, str(trial.error or "")) == ("ran", "")
    head = git("rev-parse", "HEAD")
    with Repo(rev=f"refs/exps/{head[:2]}/{head[2:]}/{trial.experiment}") as repo:
        assert repo.dvcfs.read_text("out") == repo.dvcfs.read_text(FILE) == "new"


@pytest.mark.parametrize("is_added", [False, True], ids=["replaced", "added, not committed"])
def test_a_branch_names_the_new_file(pets: Toy, is_added: bool) -> None:
    """The tree of a branch has the record of the new file, whether or not `dvc add` was run in the project."""
    dvc_calls.track(FILE)
    commit(pets.folder)
    replace()
    if is_added:
        dvc_calls.track(FILE)
    with clone_with_data(pets.folder, committed=True):
        record = git("show", f"{stage_results([])}:{FILE}.dvc")
    assert f"md5: {hashlib.md5(b'new').hexdigest()}" in record
    assert pets.read(FILE) == "new"


def test_a_branch_has_a_new_file_that_git_tracks(pets: Toy) -> None:
    """A file in the repository itself comes along, although it is not committed; other changes do not."""
    pets.write({"notes": "old"})
    commit(pets.folder)
    replace()
    pets.write({"notes": "new"})
    with clone_with_data(pets.folder, committed=True):
        tree = stage_results([])
        assert git("diff", "--name-only", "HEAD", tree) == FILE
        assert git("show", f"{tree}:{FILE}") == "new"


def add_folder() -> None:
    """DVC tracks the folder of the file."""
    dvc_calls.track("data/own")
    commit(Path())


def import_file() -> None:
    """DVC imports the file from elsewhere."""
    Path(FILE).rename("../elsewhere.npz")
    dvc_calls.import_url(Path("../elsewhere.npz").resolve(), FILE)
    commit(Path())


def leave_record_out() -> None:
    """DVC tracks the file, and git does not track its record."""
    Path(".gitignore").write_text("/data/own/*.npz\n")
    commit(Path())
    dvc_calls.track(FILE)


def store_with_filter() -> None:
    """Git tracks the file, and a filter stores its content elsewhere, as Git LFS does."""
    Path(".gitattributes").write_text("*.npz filter=lfs\n")
    commit(Path())


@pytest.mark.parametrize(
    ("track", "remedy"),
    [
        (add_folder, "than data/own.dvc names; `dvc add data/own`, commit data/own.dvc, then run again"),
        (import_file, "`dvc update data/own/pets.npz.dvc`, and commit data/own/pets.npz.dvc; then run again"),
        (leave_record_out, "git has no commit of data/own/pets.npz.dvc; commit it, then run again"),
        (store_with_filter, "than in the last commit; commit it, then run again"),
    ],
    ids=["folder", "import", "record outside of git", "filter"],
)
def test_a_file_that_cannot_be_recorded(pets: Toy, track: Callable[[], None], remedy: str) -> None:
    """New content that a clone cannot record is refused before anything runs; known content is not."""
    track()
    with clone_with_data(pets.folder, committed=True):
        pass
    replace()
    with pytest.raises(InvalidInput, match=re.escape(remedy)), clone_with_data(pets.folder, committed=True):
        pass


@pytest.mark.parametrize("is_tracked", [False, True])
def test_other_files_stay_out_of_a_clone(pets: Toy, is_tracked: bool) -> None:
    """A file that nothing tracks, or whose record names its content, is read in the project."""
    pets.write({".gitignore": "/data/own/*.npz\n"})
    if is_tracked:
        dvc_calls.track(FILE)
    commit(pets.folder)
    with clone_with_data(pets.folder, committed=False):
        assert not Path(FILE).exists()
        assert git("status", "--porcelain") == ""


def test_dvc_finds_the_record_of_own_data(pets: Toy) -> None:
    """With the project's own .gitignore, git tracks the record and not the file, and DVC pushes and pulls the file."""
    shutil.copyfile(ROOT / ".gitignore", ".gitignore")
    shutil.copyfile(ROOT / ".dvcignore", ".dvcignore")
    pets.write({"data/raw/dataset.npz": "", "data/own/.pets.new.npz": ""})
    dvc_calls.track(FILE)
    commit(pets.folder)
    assert git("ls-files", "data") == f"{FILE}.dvc"
    with Repo() as repo:
        assert [out.fs_path for out in repo.index.outs] == [str(pets.folder / FILE)]
