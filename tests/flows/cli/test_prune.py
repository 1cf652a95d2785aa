"""`inkflow prune`: old things go, and no version of the project loses anything."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.cli.arguments import age, size
from flows.cli.main import main
from flows.core.file_lock import only_run_here
from flows.dvc_repo.experiments import FOLDER as CLONES
from flows.dvc_repo.run_cache_gc import held_cache, needed
from stages.base.errors import InvalidInput
from tests.conftest import Toy, run_engine
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
    """Output of git in the current folder."""
    person = ["-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *person, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit(text: str) -> None:
    """Commit all that git may know."""
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "-m", text)


@pytest.fixture
def history(toy: Toy) -> Toy:
    """A project with a graph that has a folder and a figure which git keeps, run once and committed."""
    toy.write({"dvc.yaml": GRAPH, "params.yaml": "knobs: {speed: 0}\n", "in": "one\n"})
    toy.write({".gitignore": "*.runs\n.inkflow\n"})
    assert run_engine().error is None
    commit("begin")
    return toy


def version(toy: Toy, dice: random.Random) -> None:
    """Bring another version of inputs and parameters up to date."""
    toy.write({"in": f"{dice.randrange(4)}\n", "params.yaml": f"knobs: {{speed: {dice.randrange(4)}}}\n"})
    assert run_engine().error is None


def random_history(toy: Toy, dice: random.Random) -> list[str]:
    """Versions on branches, tags, as experiment and stash, and some that nothing names; the names of those that are."""
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
    """Files of DVC's cache."""
    return {path for path in Path(".dvc/cache").rglob("*") if path.is_file() and path.name != "inkflow.lock"}


def prune(*arguments: str) -> None:
    """Call the verb, which must succeed."""
    assert main(["prune", *arguments]) == 0


@pytest.mark.parametrize("seed", range(2))
def test_every_version_comes_back_without_running(history: Toy, seed: int) -> None:
    """After everything that may go is gone, each branch, tag and experiment is restored and no stage runs."""
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
        session = run_engine()
        assert session.error is None
        assert list(session.ran) == [], name
        with Repo() as repo:
            assert repo.status() == {}, name


def test_what_nothing_names_is_gone(history: Toy) -> None:
    """A version that no branch has goes with its run-cache entries; running it again is running it."""
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


def test_young_ones_stay(history: Toy) -> None:
    """What is younger than the age stays, though no branch has it."""
    history.write({"in": "young\n"})
    assert run_engine().error is None
    git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    assert list(run_engine().ran) == []
    before = cache_files()
    prune("--older-than", "1h")
    assert cache_files() == before


def test_oldest_go_first_until_the_size_fits(history: Toy) -> None:
    """With --keep-size alone the oldest entries go, and no more than needed."""
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


def test_workspace_stash_and_other_trees_count(history: Toy, tmp_path: Path) -> None:
    """What an uncommitted dvc.lock, a stash or another working tree of the repository needs stays as well."""
    history.write({"in": "stashed\n"})
    assert run_engine().error is None
    git("stash", "--quiet")
    git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    history.write({"in": "here\n"})
    assert run_engine().error is None
    (tmp_path / "tree" / "dvc.lock").write_text("outs: [{md5: 0123456789abcdef0123456789abcdef}]\n")
    here = (history.folder / "dvc.lock").read_text()
    kept = needed(history.folder)
    assert "0123456789abcdef0123456789abcdef" in kept
    before = cache_files()
    prune("--older-than", "0")
    assert cache_files() == before
    assert (history.folder / "dvc.lock").read_text() == here


def test_checkpoints_and_downloads_go_by_age(history: Toy) -> None:
    """Old checkpoints and unfinished downloads go, young ones stay."""
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


def test_a_cache_that_others_may_use_is_left_alone(history: Toy, tmp_path: Path) -> None:
    """A cache outside the project is refused until somebody names who uses it; what those need stays."""
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
    prune("--older-than", "0", "--also-for", str(other))
    assert before <= {path for path in shared.rglob("*") if path.is_file()}


def test_others_that_use_the_cache_are_waited_for(history: Toy, tmp_path: Path) -> None:
    """Nothing goes while a run is under way in a project that uses the same cache, or in a clone of its sweep."""
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(history.folder), str(other)], check=True)
    (other / CLONES).mkdir(parents=True)
    command = [sys.executable, "-m", "flows", "prune", "--older-than", "0", "--also-for", str(other)]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    for place in (other, other / CLONES):
        with only_run_here(place, print):
            process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            said = process.stdout.readline()
            waits = process.poll() is None
        process.communicate(timeout=60)
        assert (said[:24], waits, process.returncode) == ("Another run is under way", True, 0)


def test_broken_git_removes_nothing(history: Toy) -> None:
    """Where git cannot say what is needed, nothing is removed."""
    before = cache_files()
    head = history.folder / ".git" / "refs" / "heads" / git("symbolic-ref", "--short", "HEAD")
    head.write_text("0123456789012345678901234567890123456789\n")
    with pytest.raises(InvalidInput, match="nothing was removed"):
        main(["prune", "--older-than", "0"])
    assert cache_files() == before


def test_sizes_and_ages_are_read(history: Toy) -> None:
    """Units count as people write them; the cache's size is that of its files."""
    readings: Sequence[tuple[str, float]] = [("30d", 2_592_000), ("12h", 43_200), ("0", 0), ("2w", 1_209_600)]
    assert [age(text).total_seconds() for text, _ in readings] == [seconds for _, seconds in readings]
    assert [size(text) for text in ("10G", "500MB", "1.5k", "0")] == [10**10, 500_000_000, 1500, 0]
    with held_cache(history.folder) as cache:
        assert cache.size() == sum(path.stat().st_size for path in cache_files())


@pytest.mark.parametrize("argument", [["--older-than", "soon"], ["--keep-size", "-1"], ["--older-than", "nan"]])
def test_bad_arguments_are_refused(history: Toy, argument: list[str]) -> None:
    """A number that is none ends with code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["prune", *argument])
    assert ended.value.code == 2
