"""Restored outputs have the content that their hash says, whatever happened to DVC's cache and remote."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo

from flows.core.errors import DvcFailed
from flows.dvc_repo import remotes
from flows.dvc_repo.code import old_content
from flows.dvc_repo.code.old_content import FOLDER, OldContent
from flows.dvc_repo.damaged_objects import find_damaged
from flows.dvc_repo.repository import Repository
from flows.dvc_repo.run_cache_gc import locked_cache
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from flows.engine.types import Outcome
from tests.conftest import Toy, run_engine
from tests.flows.engine.helpers import OUTCOMES, RecordingDisplay, make_plan, outcomes, status, succeeded
from tests.support.copied_toy import copied_toy
from tests.support.dvc_calls import add_remote, configure, track

PIPELINE = """
stages:
  folder: {cmd: mkdir -p out/sub; cp in out/one; cp in out/sub/two; echo 2 >> out/sub/two, deps: [in], outs: [out]}
  score: {cmd: 'echo ''{"x": 1}'' > score.json', deps: [in], metrics: [score.json: {cache: false}]}
  last: {cmd: cat out/one > last; echo last >> last, deps: [out], outs: [last]}
"""


def make_project(folder: Path) -> None:
    """Makes a project whose stages ran."""
    Toy(folder).write({"dvc.yaml": PIPELINE, "in": "one\n"})
    succeeded(run())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder, with a remote that is a folder."""
    toy = copied_toy(make_project, tmp_path / "toy", monkeypatch)
    add_remote(tmp_path / "store")
    return toy


def run(*, pull: bool = False) -> Run:
    """Bring all stages up to date."""
    repository = Repository(pull=pull)
    engine = Engine(repository, Policies(), result := Run(options=Options(jobs=1), display=RecordingDisplay()))
    engine.start(repository.stages())
    engine.wait()
    return result


def notes(result: Run) -> str:
    """Return the notes on a run."""
    assert isinstance(result.display, RecordingDisplay)
    return "\n".join(result.display.notes)


def damage(root: Path, digest: str) -> Path:
    """Change a byte of an object below `root` and return its path."""
    path = next(root.rglob(f"{digest[:2]}/{digest[2:]}"))
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    path.chmod(0o444)
    return path


def delete(name: str) -> None:
    """Delete a file or folder."""
    path = Path(name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def digests(folder: Path) -> Mapping[str, str]:
    """Return the hash of each output in dvc.lock, and of each file in folders."""
    with Repo(str(folder)) as repo:
        found = {out.def_path: str(out.hash_info.value) for out in repo.index.outs}
        tree = next(out for out in repo.index.outs if out.def_path == "out").get_obj()
        assert tree is not None
        return found | {"/".join(["out", *key]): str(item.value) for key, _, item in tree}


@pytest.mark.parametrize(
    ("name", "stage", "missing"),
    [
        ("last", "last", "last"),
        ("out", "folder", "out"),
        ("out/sub/two", "folder", "out"),
        ("score.json", "score", "score.json"),
    ],
)
def test_damaged_object_is_made_again(project: Toy, name: str, stage: str, missing: str) -> None:
    """A damaged file, file of a folder, list of a folder or uncached metric is not restored: it is named and set aside,
    and its stage runs, as the plan says; the next restoration has the right content.
    """
    names = ("last", "out/one", "out/sub/two", "score.json")
    before = [project.read(name) for name in names]
    digest = digests(project.folder)[name]
    damage(project.folder / ".dvc/cache", digest)
    delete(missing)
    assert OUTCOMES[make_plan()[stage].verdict] is Outcome.RAN
    result = run()
    assert outcomes(succeeded(result))[stage] is Outcome.RAN
    assert f"{digest[2:]} in DVC's cache was damaged" in notes(result)
    assert (project.folder / ".dvc/cache/damaged" / digest).is_file()
    delete(missing)
    assert outcomes(succeeded(run()))[stage] is Outcome.RESTORED
    assert [project.read(name) for name in names] == before
    assert status() == {}


def test_damaged_object_is_pulled(project: Toy) -> None:
    """With `--pull`, a damaged object comes from the remote, for a stage and for tracked data."""
    project.write({"data": "tracked\n"})
    track("data")
    remotes.push(Path())
    known = digests(project.folder)
    for name in ("last", "data"):
        damage(project.folder / ".dvc/cache", known[name])
        (project.folder / name).unlink()
    assert "data.dvc" not in make_plan()
    assert "DvcFailed" in repr(run_engine("data.dvc").errors["data.dvc"])
    assert set(outcomes(succeeded(run(pull=True))).values()) == {Outcome.UNCHANGED, Outcome.RESTORED}
    assert (project.read("last"), project.read("data")) == ("one\nlast\n", "tracked\n")


def test_damaged_remote(project: Toy, tmp_path: Path) -> None:
    """An object that is damaged in the remote is not restored: the stage runs."""
    remotes.push(Path())
    damage(tmp_path / "store", digests(project.folder)["last"])
    delete("last")
    delete(".dvc/cache/files")
    assert outcomes(succeeded(run(pull=True)))["last"] is Outcome.RAN
    assert project.read("last") == "one\nlast\n"


def test_output_is_not_linked_to_a_damaged_object(project: Toy) -> None:
    """A stage that runs and gives the content of a damaged object keeps its own content, where outputs are links."""
    configure("cache", {"type": "symlink"})
    damage(project.folder / ".dvc/cache", digests(project.folder)["last"])
    (project.folder / ".dvc/cache/runs").rename(project.folder / "runs")
    (project.folder / "last").unlink()
    (project.folder / "dvc.lock").unlink()
    succeeded(run())
    assert (project.folder / "last").is_symlink()
    assert project.read("last") == "one\nlast\n"


def test_object_that_cannot_be_moved(project: Toy) -> None:
    """If the damaged object cannot be moved, the stage fails and the message says which file to delete."""
    damage(project.folder / ".dvc/cache", digests(project.folder)["last"])
    (project.folder / "last").unlink()
    (project.folder / ".dvc/cache/damaged").write_text("")  # a file in the place of the folder; root ignores modes
    error = run().errors["last"]
    assert isinstance(error, DvcFailed)
    assert "is damaged and cannot be moved" in str(error)
    assert str(error).endswith("delete it")


def test_content_is_hashed_once(project: Toy) -> None:
    """An object with the time, inode and size of its last hashing is not read again."""
    digest = digests(project.folder)["last"]
    with Repo() as repo:
        assert find_damaged(repo.cache.local, [digest]) == []
        path = Path(repo.cache.local.oid_to_path(digest))
        times = path.stat()
        damage(project.folder / ".dvc/cache", digest)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert find_damaged(repo.cache.local, [digest]) == []
        os.utime(path)
        assert find_damaged(repo.cache.local, [digest]) == [digest]


def test_damaged_lists_of_folders_name_no_file(project: Toy) -> None:
    """`inkflow prune` takes from a list in the cache the hashes that it can read, and no path beside the cache."""
    value = digests(project.folder)["out"]
    (path,) = Path(".dvc/cache/files/md5").glob("??/*.dir")
    path.chmod(0o644)
    good = "0123456789abcdef" * 2
    contents = {
        "[1]": set(), "null": set(), "3": set(), "[" * 100_000: set(), '[{"md5": [1]}]': set(),
        f'[1, {{"md5": "{good}"}}, {{"md5": "aa/../../../in"}}, {{"relpath": "a"}}]': {good},
    }  # fmt: skip
    for content, expected in contents.items():
        path.write_text(content)
        with locked_cache(project.folder) as cache:
            assert cache.with_folder_files([value]) == {value} | expected


def test_lists_nested_too_deep(project: Toy) -> None:
    """Lists of new entries and of earlier code that are nested too deep say nothing, and the next run removes one."""
    nested, name = "[" * 100_000, f"{'0' * 32}.dir"
    project.write({".dvc/tmp/inkflow_new_entries.json": nested, f".dvc/tmp/{FOLDER}/{name}": nested, "in": "two\n"})
    with Repo() as repo:
        assert OldContent(repo).folder("out", name) is None
    succeeded(run())
    assert project.read("last") == "two\nlast\n"


def test_the_store_of_code_keeps_the_newest(project: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the store of earlier code has more objects than it may have, the older half of them is removed."""
    monkeypatch.setattr(old_content, "MAX_KEPT", 4)
    texts = [f"{number}\n".encode() for number in range(6)]
    with Repo() as repo:
        store = Path(repo.tmp_dir) / FOLDER
        for number, text in enumerate(texts):
            project.write({"code.py": text.decode()})
            name, path = old_content.md5_of(text), str(project.folder / "code.py")
            dep = SimpleNamespace(hash_info=HashInfo("md5", name), is_in_repo=True, protocol="local", fs_path=path)
            OldContent(repo).keep(dep)
            os.utime(store / name, (number, number))
    assert sorted(path.read_bytes() for path in store.iterdir()) == texts[3:]
