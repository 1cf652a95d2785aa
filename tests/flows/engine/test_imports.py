"""Data that `dvc import` and `dvc import-url` bring from a source, and data that DVC 2 recorded."""

import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.cli.main import main
from flows.core.notices import note_once
from flows.dvc_repo import remotes
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from tests.conftest import Toy
from tests.flows.engine.helpers import delete_cache, make_plan, outcomes, run_as_planned, status, succeeded
from tests.flows.engine.test_tracked_data import planned, run_with_pull
from tests.support.dvc_calls import add_remote, commit, import_url, push, track, unfreeze

STAGE = "stages:\n  use: {cmd: cat data > out, deps: [data], outs: [out]}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file outside the project."""
    path = tmp_path / "source"
    path.write_text("one\n")
    return path


def test_an_import_that_was_never_downloaded(toy: Toy, source: Path) -> None:
    """A run downloads it, as `dvc repro` does."""
    toy.write({"dvc.yaml": STAGE})
    import_url(source, "data", download=False)
    assert make_plan()["data.dvc"].verdict is Verdict.RECORD
    assert outcomes(run_as_planned()) == {"data.dvc": Outcome.RECORDED, "use": Outcome.RAN}
    assert toy.read("out") == "one\n"
    assert status() == {}


def test_an_import_in_no_cache(toy: Toy, source: Path) -> None:
    """An import that is not frozen comes from its source again, as with `dvc repro`."""
    toy.write({"dvc.yaml": STAGE})
    import_url(source, "data")
    unfreeze("data.dvc")
    run_as_planned()
    (toy.folder / "data").unlink()
    delete_cache(toy.folder)
    assert make_plan()["data.dvc"].verdict is Verdict.RECORD
    assert outcomes(run_as_planned())["data.dvc"] is Outcome.RECORDED
    assert toy.read("data") == "one\n"


@pytest.mark.parametrize("is_cached", [True, False])
def test_an_edited_copy_of_an_import(toy: Toy, source: Path, is_cached: bool) -> None:
    """If the import is not frozen, the copy is replaced, as by `dvc repro`, and the plan says so: from the cache, or
    from the source if no cache here has the content.
    """
    toy.write({"dvc.yaml": STAGE})
    import_url(source, "data")
    unfreeze("data.dvc")
    run_as_planned()
    (toy.folder / "data").unlink()
    toy.write({"data": "edited\n"})
    if not is_cached:
        delete_cache(toy.folder)
    decisions, results = make_plan(), outcomes(run_as_planned())
    if is_cached:
        assert decisions["data.dvc"].verdict is Verdict.RESTORE
        assert decisions["use"].verdict is Verdict.UNCHANGED
        assert results == {"data.dvc": Outcome.RESTORED, "use": Outcome.UNCHANGED}
    else:
        assert decisions["data.dvc"].verdict is Verdict.RECORD
        assert results["data.dvc"] is Outcome.RECORDED
    assert toy.read("data") == "one\n"
    assert status() == {}


def test_an_import_from_another_repository(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --pull its content comes from that repository, as with `dvc pull`."""
    other = Toy(_folder(tmp_path / "other"))
    _commit(other, "one\n")
    toy.write({"dvc.yaml": STAGE})
    add_remote(tmp_path / "store")
    with Repo() as repo:
        repo.imp(str(other.folder), "data")
    assert remotes.missing_in_remote(Path()) == {}  # DVC pushes no such data
    (toy.folder / "data").unlink()
    delete_cache(toy.folder)
    assert planned(capsys) == {"data.dvc": "missing", "use": "may run"}
    assert planned(capsys, "--pull") == {"data.dvc": "restore", "use": "run"}
    assert outcomes(succeeded(run_with_pull())) == {"data.dvc": Outcome.RESTORED, "use": Outcome.RAN}
    assert toy.read("out") == "one\n"


def test_an_update_of_another_repository(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A newer commit is no work, since `dvc repro` keeps the imported one: a note names the command that fetches it.

    A missing and an edited copy come back from the cache.
    """
    other = Toy(_folder(tmp_path / "other"))
    _commit(other, "one\n")
    toy.write({"dvc.yaml": STAGE})
    with Repo() as repo:
        repo.imp(str(other.folder), "data")
    unfreeze("data.dvc")
    run_as_planned()
    _commit(other, "two\n")
    note_once.cache_clear()
    capsys.readouterr()
    assert main(["plan", "--exit-code"]) == 0
    assert capsys.readouterr().err == "note: data.dvc: an update is available: `dvc update data.dvc`\n"
    assert set(outcomes(run_as_planned()).values()) == {Outcome.UNCHANGED}
    for content in (None, "edited\n"):
        (toy.folder / "data").unlink()
        toy.write({"data": content} if content else {})
        assert outcomes(run_as_planned()) == {"data.dvc": Outcome.RESTORED, "use": Outcome.UNCHANGED}
        assert toy.read("data") == "one\n"
    (toy.folder / "data").unlink()
    delete_cache(toy.folder)
    assert outcomes(run_as_planned()) == {"data.dvc": Outcome.RECORDED, "use": Outcome.UNCHANGED}
    assert toy.read("data") == "one\n"


def test_data_of_dvc_2(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its layout of cache and remote is found by the plan and by the run."""
    toy.write({"dvc.yaml": STAGE, "data": "one\n"})
    add_remote(tmp_path / "store")
    track("data")
    _record_as_dvc_2(toy.folder / "data.dvc")
    commit("data.dvc")
    assert "hash: md5" not in toy.read("data.dvc")
    push()
    (toy.folder / "data").unlink()
    assert planned(capsys) == {"data.dvc": "restore", "use": "run"}
    shutil.rmtree(".dvc/cache")
    assert planned(capsys) == {"data.dvc": "missing", "use": "may run"}
    assert planned(capsys, "--pull") == {"data.dvc": "restore", "use": "run"}
    assert outcomes(succeeded(run_with_pull())) == {"data.dvc": Outcome.RESTORED, "use": Outcome.RAN}
    assert toy.read("out") == "one\n"


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _commit(other: Toy, content: str) -> None:
    """Commits `data` with this content, which DVC tracks, in another repository."""
    (other.folder / "data").unlink(missing_ok=True)
    other.write({"data": content})
    with chdir(other.folder):
        track("data")
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    for command in (["add", "--all"], [*identity, "commit", "--quiet", "-m", "data"]):
        subprocess.run(["git", *command], cwd=other.folder, check=True)


def _record_as_dvc_2(path: Path) -> None:
    """Rewrites a .dvc file without the name of the hash, which DVC 2 did not write."""
    yaml = YAML()
    content = yaml.load(path)
    del content["outs"][0]["hash"]
    with path.open("w") as file:
        yaml.dump(content, file)
    shutil.rmtree(path.parent / ".dvc/cache")
