"""`inkflow prune`: removes old entries, and no object that a version of the project needs."""

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.cli.main import main
from flows.core.file_lock import run_lock
from flows.core.project import CLONES
from flows.dvc_repo.run_cache_gc import referenced_hashes
from stages.base.errors import InvalidInput
from tests.conftest import Toy, run_engine
from tests.support.copied_toy import copied_toy
from tests.support.root import ROOT

GRAPH = """
stages:
  source:
    cmd: echo >> source.runs; cat in > out; grep speed params.yaml >> out
    deps: [in]
    params: [knobs]
    outs: [out]
  folder:
    cmd: mkdir folder; cp out folder/same; (cat out; wc -c out) > folder/other
    deps: [out]
    outs: [folder]
  figures:
    cmd: wc -c < folder/other > figures.txt; cp out joined
    deps: [folder, out]
    outs: [joined]
    metrics: [{figures.txt: {cache: false}}]
"""


def git(*arguments: str) -> str:
    """Run git in the current folder and return its output."""
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit(text: str) -> None:
    """Commit all files that git does not ignore."""
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "-m", text)


def make_history(folder: Path) -> None:
    """Make a project with a folder as output and a metric that git tracks, run once and committed."""
    toy = Toy(folder)
    toy.write({"dvc.yaml": GRAPH, "params.yaml": "knobs: {speed: 0}\n", "in": "one\n"})
    toy.write({".gitignore": "*.runs\n.inkflow\n"})
    assert run_engine().error is None
    commit("begin")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder."""
    return copied_toy(make_history, tmp_path / "toy", monkeypatch)


def version(toy: Toy, dice: random.Random) -> None:
    """Write random inputs and parameters, and run the stages."""
    toy.write({"in": f"{dice.randrange(4)}\n", "params.yaml": f"knobs: {{speed: {dice.randrange(4)}}}\n"})
    assert run_engine().error is None


def random_history(toy: Toy, dice: random.Random) -> list[str]:
    """Make versions, each on a branch, a tag, an experiment or on no reference; return the names of the references."""
    names = [git("symbolic-ref", "--short", "HEAD")]
    for number in range(5):
        if dice.random() < 0.4:
            git("checkout", "--quiet", "--force", dice.choice(names))
        version(toy, dice)
        kind = dice.choice(["branch", "tag", "annotated", "exps", "nothing"])
        if kind == "branch":
            names.append(f"branch-{number}")
            git("checkout", "--quiet", "-b", names[-1])
            commit(names[-1])
        elif kind != "nothing":
            git("checkout", "--quiet", "--detach")
            commit(kind)
            names.append({"exps": f"refs/exps/ab/{number}"}.get(kind, f"tag-{number}"))
            if kind == "exps":
                git("update-ref", names[-1], "HEAD")
            else:
                git("tag", names[-1], *(["-m", "annotated"] if kind == "annotated" else []))
    git("checkout", "--quiet", "--force", names[0])
    return names


def cache_files() -> set[Path]:
    """Return the files in DVC's cache."""
    return {path for path in Path(".dvc/cache").rglob("*") if path.is_file() and path.name != "inkflow.lock"}


def prune(*arguments: str) -> None:
    """Run `inkflow prune`, which must succeed."""
    assert main(["prune", *arguments]) == 0


@pytest.mark.farm
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.farm)])
def test_every_version_comes_back_without_running(history: Toy, seed: int) -> None:
    """After a prune of all ages, each branch, tag and experiment can be restored without running a stage."""
    dice = random.Random(seed)
    names = random_history(history, dice)
    assert run_engine().error is None
    prune("--older-than", "0")
    for name in dice.sample(names, len(names)):
        git("checkout", "--quiet", "--force", "--detach", name)
        for path in ("out", "joined", "folder"):
            subprocess.run(["rm", "-rf", path], check=True)
        if dice.random() < 0.5:
            with Repo() as repo:
                repo.checkout(force=True)
        run = run_engine()
        assert run.error is None
        assert list(run.ran) == [], name
        with Repo() as repo:
            assert repo.status() == {}, name


def test_unreferenced_version_is_removed(history: Toy) -> None:
    """A version on no branch is removed with its run-cache entries; afterwards its stages run again."""
    before = cache_files()
    history.write({"in": "forgotten\n"})
    assert run_engine().error is None
    assert len(cache_files()) > len(before)
    git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    assert list(run_engine().ran) == []
    prune("--older-than", "0", "--dry-run")
    assert len(cache_files()) > len(before)
    prune("--older-than", "0")
    assert cache_files() == before
    history.write({"in": "forgotten\n"})
    assert list(run_engine().ran) == ["source", "folder", "figures"]


def test_young_entries_stay(history: Toy) -> None:
    """Entries younger than the given age stay, although no branch has them."""
    history.write({"in": "young\n"})
    assert run_engine().error is None
    git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    assert list(run_engine().ran) == []
    before = cache_files()
    prune("--older-than", "1h")
    assert cache_files() == before


def test_oldest_entries_are_removed_until_the_size_fits(history: Toy) -> None:
    """With --keep-size alone, the oldest entries are removed, and no more than needed."""
    for number, word in enumerate(["old\n", "new\n"], 1):
        history.write({"in": word * 1000})
        assert run_engine().error is None
        for path in Path(".dvc/cache/runs").glob("*/*/*"):
            if "\nouts" in path.read_text() and path.stat().st_mtime > time.time() - 10_000:
                os.utime(path, (time.time() - 100_000 + number * 1000,) * 2)
    git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    assert list(run_engine().ran) == []
    total = sum(path.stat().st_size for path in Path(".dvc/cache").rglob("*") if path.is_file())
    prune("--keep-size", str(total - 1))
    history.write({"in": "new\n" * 1000})
    assert list(run_engine().ran) == []
    git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    assert list(run_engine().ran) == []
    history.write({"in": "old\n" * 1000})
    assert len(run_engine().ran) == 1


def test_workspace_stash_and_worktrees_are_kept(history: Toy, tmp_path: Path) -> None:
    """Objects that an uncommitted dvc.lock, a stash or another git worktree needs stay."""
    history.write({"in": "stashed\n"})
    assert run_engine().error is None
    git("stash", "--quiet")
    git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    history.write({"in": "uncommitted\n"})
    assert run_engine().error is None
    (tmp_path / "tree" / "dvc.lock").write_text("outs: [{md5: 0123456789abcdef0123456789abcdef}]\n")
    lock = (history.folder / "dvc.lock").read_text()
    hashes = referenced_hashes(history.folder)
    assert "0123456789abcdef0123456789abcdef" in hashes
    before = cache_files()
    prune("--older-than", "0")
    assert cache_files() == before
    assert (history.folder / "dvc.lock").read_text() == lock


def test_old_checkpoints_and_downloads_are_removed(history: Toy) -> None:
    """Old checkpoints and unfinished downloads are removed, young ones stay."""
    old, young = Path(".inkflow/checkpoints/cnn-0.checkpoint"), Path(".inkflow/downloads/mnist.part")
    for path in (old, young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    prune("--older-than", "30d", "--dry-run")
    assert old.exists()
    prune()
    assert not old.exists()
    assert young.exists()


def test_old_locks_and_loose_objects_are_removed(history: Toy) -> None:
    """The locks that a killed run left go when they are old, and git packs its objects when they are many."""
    lock = Path(".inkflow/sharing/run-0")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (0, 0))
    texts = [f"{number}\n" for number in range(2000)]  # git counts the objects whose names begin with 17
    found = [text for text in texts if hashlib.sha1(f"blob {len(text)}\0{text}".encode()).hexdigest()[:2] == "17"]
    history.write({f"file{number}": text for number, text in enumerate(found)})
    commit("many")
    prune()
    assert not lock.exists()
    assert list(Path(".git/objects/pack").glob("*.pack")) == []
    git("config", "gc.auto", "1")
    prune("--dry-run")
    assert list(Path(".git/objects/pack").glob("*.pack")) == []
    prune()
    assert len(list(Path(".git/objects/pack").glob("*.pack"))) == 1


def test_shared_cache_needs_its_projects(history: Toy, tmp_path: Path) -> None:
    """A cache outside the project is refused unless --also-for names its projects; objects that these need stay."""
    shared = tmp_path / "shared"
    history.write({".dvc/config.local": f"[cache]\n    dir = {shared}\n"})
    assert run_engine(force=True).error is None
    before = {path for path in shared.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInput, match=r"outside of this project.*--also-for"):
        main(["prune", "--older-than", "0"])
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(history.folder), str(other)], check=True)
    history.write({"in": "mine\n"})
    assert run_engine().error is None
    commit("mine")
    with pytest.raises(InvalidInput, match=r"--also-for: .*nowhere is no folder; expected the folder of a project"):
        prune("--older-than", "0", "--also-for", str(other), "--also-for", "nowhere")
    (other / "below").mkdir()  # a run locks the folder of its project, not this one
    with pytest.raises(InvalidInput, match=r"--also-for: .*below has no \.dvc; expected the folder of a project"):
        prune("--older-than", "0", "--also-for", str(other / "below"))
    prune("--older-than", "0", "--also-for", str(other))
    assert before <= {path for path in shared.rglob("*") if path.is_file()}


@pytest.mark.farm
def test_prune_waits_for_other_projects(history: Toy, tmp_path: Path) -> None:
    """Nothing is removed during a run in a project that uses the same cache, or during its sweep."""
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(history.folder), str(other)], check=True)
    (other / CLONES).mkdir(parents=True)
    command = [sys.executable, "-m", "flows", "prune", "--older-than", "0", "--also-for", str(other)]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    for folder in (other, other / CLONES):
        with run_lock(folder, print):
            process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            message = process.stdout.readline()
            waits = process.poll() is None
        process.communicate(timeout=240)
        assert (message[:24], waits, process.returncode) == ("Another run is under way", True, 0)


def test_clones_of_killed_runs_are_removed(history: Toy) -> None:
    """What a killed sweep left of its clones goes, with and without their repositories; a dry run leaves it."""
    for name in ("trial-0/.git", "trial-1", "code"):  # the last one is the store of earlier code
        (history.folder / CLONES / name).mkdir(parents=True)
    assert main(["prune", "--keep-size", "9G", "--dry-run"]) == 0
    assert {path.name for path in (history.folder / CLONES).iterdir()} == {".inkflow", "code", "trial-0", "trial-1"}
    assert main(["prune", "--keep-size", "9G"]) == 0
    assert {path.name for path in (history.folder / CLONES).iterdir()} == {".inkflow", "code"}


def test_broken_git_removes_nothing(history: Toy) -> None:
    """If git cannot list the versions of the project, nothing is removed."""
    before = cache_files()
    head = history.folder / ".git" / "refs" / "heads" / git("symbolic-ref", "--short", "HEAD")
    head.write_text("0123456789012345678901234567890123456789\n")
    with pytest.raises(InvalidInput, match="nothing was removed"):
        main(["prune", "--older-than", "0"])
    assert cache_files() == before


@pytest.mark.parametrize("argument", [["--older-than", "soon"], ["--keep-size", "-1"], ["--older-than", "nan"]])
def test_bad_arguments_are_refused(history: Toy, argument: list[str]) -> None:
    """An invalid age or size ends with exit code 2."""
    with pytest.raises(SystemExit) as exit_info:
        main(["prune", *argument])
    assert exit_info.value.code == 2
