"""Results that DVC 2 recorded: its dvc.lock has no name of the hash, and its caches and remotes have another layout."""

import hashlib
import shutil
import threading
from pathlib import Path

import pytest

from flows.core.errors import CannotBeSent
from flows.dvc_repo import remotes
from flows.dvc_repo.remote.version_push import push_version_outputs
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.versions.artifacts import cached_files, in_remote
from flows.dvc_repo.versions.contents import open_contents
from flows.engine.planning.plan import Verdict
from flows.engine.types import Outcome
from flows.registry.lock_entries import lock_entries
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import make_plan, outcomes, run_as_planned, status, succeeded
from tests.flows.engine.test_tracked_data import planned, run_with_pull
from tests.flows.registry.conftest import git
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import add_remote, push

PIPELINE = """
stages:
  make: {cmd: echo >> make.runs; mkdir -p out; cp in out/one, deps: [in], outs: [out]}
  join: {cmd: echo >> join.runs; cat out/one > joined; echo joined >> joined, deps: [out/one], outs: [joined]}
"""
METRIC = "  score: {cmd: echo >> score.runs; cp in score, deps: [in], metrics: [score: {cache: false}]}\n"
RESTORED = {"make": Outcome.RESTORED, "join": Outcome.RESTORED}


def make_project(folder: Path) -> None:
    """Makes a project with results in the form of DVC 2."""
    Toy(folder).write({"dvc.yaml": PIPELINE, "in": "one\n"})
    assert run_engine().error is None
    record_as_dvc_2(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, with an empty remote."""
    toy = copied_toy(make_project, tmp_path / "toy", monkeypatch)
    add_remote(tmp_path / "store")
    return toy


def record_as_dvc_2(folder: Path) -> None:
    """Give dvc.lock and the cache the form of DVC 2; the run cache is lost. The hashes of these files are the same."""
    lock, cache = folder / "dvc.lock", folder / ".dvc/cache"
    lines = lock.read_text().splitlines(keepends=True)
    lock.write_text("".join(line for line in lines if line.strip() != "hash: md5"))
    for path in sorted((cache / "files/md5").iterdir()):
        shutil.move(path, cache / path.name)
    shutil.rmtree(cache / "files")
    shutil.rmtree(cache / "runs")


def delete_outputs(folder: Path) -> None:
    """Delete what the stages made."""
    shutil.rmtree(folder / "out")
    (folder / "joined").unlink()


def test_results_in_the_cache(project: Toy) -> None:
    """They are unchanged, and deleted outputs come back from the cache, as the plan says: also a part of them."""
    assert {decision.verdict for decision in make_plan().values()} == {Verdict.UNCHANGED}
    delete_outputs(project.folder)
    assert outcomes(run_as_planned()) == RESTORED
    shutil.rmtree(project.folder / "out")
    assert outcomes(run_as_planned()) == {"make": Outcome.RESTORED, "join": Outcome.UNCHANGED}
    assert status() == {}
    assert (project.runs("make"), project.runs("join")) == (1, 1)


def test_a_metric_in_git(toy: Toy) -> None:
    """A deleted metric that DVC does not cache as an output comes back from the cache too."""
    toy.write({"dvc.yaml": f"stages:\n{METRIC}", "in": "one\n"})
    assert run_engine().error is None
    record_as_dvc_2(toy.folder)
    (toy.folder / "score").unlink()
    assert outcomes(run_as_planned()) == {"score": Outcome.RESTORED}
    assert toy.runs("score") == 1


def test_results_in_the_remote(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The check of the remote finds them there, and with --pull they are restored, as the plan says."""
    assert remotes.missing_in_remote(Path()) == {"make": ["out"], "join": ["joined"]}
    push()
    assert remotes.missing_in_remote(Path()) == {}
    delete_outputs(project.folder)
    shutil.rmtree(".dvc/cache")
    assert planned(capsys) == {"make": "run", "join": "may run"}
    assert planned(capsys, "--pull") == {"make": "restore", "join": "restore"}
    assert outcomes(succeeded(run_with_pull())) == RESTORED
    assert project.read("joined") == "one\njoined\n"
    assert (project.runs("make"), project.runs("join")) == (1, 1)


def test_run_cache(project: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries of the run cache that name such outputs are pushed with them, and restore them elsewhere."""
    delete_outputs(project.folder)
    run_as_planned()  # adds the entries, in the form of DVC 2
    assert remotes.push_run_cache(Path()) == 2
    assert remotes.missing_in_remote(Path()) == {}
    delete_outputs(project.folder)
    shutil.rmtree(".dvc/cache")
    assert planned(capsys, "--pull") == {"make": "restore", "join": "restore"}
    assert outcomes(succeeded(run_with_pull())) == RESTORED


def test_a_changed_input(project: Toy) -> None:
    """Stages that run again are recorded in the form of DVC 3, and restored from its layout."""
    project.write({"in": "two\n"})
    assert outcomes(run_as_planned()) == {"make": Outcome.RAN, "join": Outcome.RAN}
    assert project.read("dvc.lock").count("hash: md5") == 4
    delete_outputs(project.folder)
    assert outcomes(run_as_planned()) == RESTORED
    assert status() == {}


def digests() -> dict[str, str]:
    """Returns the hash of each output in dvc.lock."""
    return {
        out["path"]: out["md5"]
        for entry in lock_entries(Path("dvc.lock").read_text()).values()
        for out in entry["outs"]
    }


def test_an_earlier_version(project: Toy, tmp_path: Path) -> None:
    """Its files are pushed in their own layout, those of folders too; what no cache has is left out."""
    git("add", "--all")
    git("commit", "-qm", "one")
    one = digests()
    project.write({"in": "two\n"})
    run_as_planned()
    push_version_outputs(Path(), "net@v1", git("rev-parse", "HEAD"))
    sent = {"".join(path.parts[-2:]) for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert sent == {*one.values(), hashlib.md5(b"one\n").hexdigest()}
    shutil.rmtree(tmp_path / "store")
    (project.folder / ".dvc/cache" / one["joined"][:2] / one["joined"][2:]).unlink()
    push_version_outputs(Path(), "net@v1", git("rev-parse", "HEAD"))
    assert len([path for path in (tmp_path / "store").rglob("*") if path.is_file()]) == 2


def test_contents_by_their_hash(project: Toy, tmp_path: Path) -> None:
    """A content is found in the cache and in the remote, as a file and as a folder; a damaged one is not used."""
    hashes = digests()
    push()

    def found(name: str) -> set[str]:
        with open_contents(Path()) as contents:
            contents.fetch(hashes.values())
            for path, digest in hashes.items():
                contents.lay_out(digest, tmp_path / name / path, None, path, lambda _: None)
        return {str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*") if path.is_file()}

    assert found("cache") == {"joined", "out/one"}
    assert in_remote(Path(), [*hashes.values(), "0" * 32]) == set(hashes.values())
    with cached_files(Path()) as cached:
        assert {name: cached(digest) is not None for name, digest in hashes.items()} == {"out": True, "joined": True}
    shutil.rmtree(".dvc/cache")
    assert found("remote") == {"joined", "out/one"}
    joined = Path(".dvc/cache") / hashes["joined"][:2] / hashes["joined"][2:]
    joined.chmod(0o644)
    joined.write_text("damaged")
    shutil.rmtree(tmp_path / "store")
    assert found("damaged") == {"out/one"}
    with cached_files(Path()) as cached:
        assert cached(hashes["joined"]) is None


def test_a_text_with_the_line_ends_of_windows(toy: Toy) -> None:
    """DVC 2 hashed a text with other line ends than the file has: it is found, and counts as undamaged."""
    toy.write({"dvc.yaml": "stages: {}\n"})
    digest = hashlib.md5(b"one\n").hexdigest()
    path = toy.folder / ".dvc/cache" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one\r\n")
    with cached_files(Path()) as cached:
        assert cached(digest) == path


def test_an_input_of_a_work_pool(project: Toy) -> None:
    """A stage that reads such an output is not sent to a pool, which gets the value of the hash alone."""
    with Repository(Path()) as repository:
        transfer = repository.transfer(0.0, threading.Event())
        transfer.ensure_possible("make")
        with pytest.raises(CannotBeSent, match="out was recorded by DVC 2; `dvc cache migrate --dvc-files`"):
            transfer.ensure_possible("join")
