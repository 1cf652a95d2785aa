"""`inkflow prune`: lock files that are held stay, and its summary tells all that it does."""

import fcntl
import json
import os
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.cli.arguments import age, size
from flows.cli.main import main
from flows.core.errors import DvcFailed
from flows.dvc_repo.run_cache_gc import locked_cache
from flows.engine.output_backup import backup_outputs, has_backups
from tests.conftest import Toy, run_engine


def test_held_locks_stay(toy: Toy) -> None:
    """A lock file that a process holds stays, however old it is: a stage may run for weeks."""
    held, free = Path(".inkflow/sharing/slot-0"), Path(".inkflow/sharing/slot-1")
    held.parent.mkdir(parents=True, exist_ok=True)
    for path in (held, free):
        path.touch()
        os.utime(path, (0, 0))
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["prune"]) == 0
    assert (held.exists(), free.exists()) == (True, False)
    assert main(["prune"]) == 0
    assert not held.exists()


def test_temporary_files_of_a_killed_dvc_are_removed(diamond: Toy) -> None:
    """What a killed DVC began to write into its cache is removed when it is old; its objects stay."""
    assert run_engine().error is None
    objects = set(Path(".dvc/cache/files/md5").glob("*/*"))
    old, young = (path.with_name(f".{name}.tmp") for path, name in zip(sorted(objects), "ab", strict=False))
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    assert main(["prune", "--dry-run"]) == 0 and old.exists()
    assert main(["prune"]) == 0
    assert set(Path(".dvc/cache/files/md5").glob("*/*")) == objects | {young}


def test_summary_tells_all_that_is_done(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary names the lock files and the work of git, with --dry-run too."""
    for arguments, ran in ((["--dry-run"], "would run"), ([], "ran")):
        assert main(["prune", *arguments]) == 0
        text = capsys.readouterr().out
        assert f"Git: `git gc --auto` {ran} in {toy.folder}\n" in text
        assert "results, lock files of ended runs: 0 files" in text
    assert main(["prune", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["git_repositories"] == [str(toy.folder)]


def test_a_dry_run_restores_nothing(toy: Toy) -> None:
    """The backups that a killed run left stay with --dry-run, and come back with a prune."""
    toy.write({"dvc.yaml": "stages: {one: {cmd: echo > made, outs: [made]}}"})
    assert run_engine().error is None
    backup_outputs(toy.folder, "one", ["made"])
    assert main(["prune", "--dry-run"]) == 0
    assert not Path("made").exists() and has_backups(toy.folder)
    assert main(["prune"]) == 0
    assert Path("made").exists() and not has_backups(toy.folder)


@pytest.mark.timeout(60)  # it waited for ever
def test_beside_another_dvc_command(toy: Toy) -> None:
    """While another process holds DVC's lock, a prune says so and ends, also where a killed run left backups."""
    toy.write({"made": ""})
    backup_outputs(toy.folder, "one", ["made"])
    with Repo() as repo, repo.lock, pytest.raises(DvcFailed, match="another DVC command is running"):
        main(["prune"])
    assert has_backups(toy.folder)


def test_sizes_and_ages(diamond: Toy) -> None:
    """Ages and sizes are parsed with their units; the size of the cache is that of its files."""
    readings = {"30d": 2_592_000, "12h": 43_200, "0": 0, "2w": 1_209_600}
    assert {text: age(text).total_seconds() for text in readings} == readings
    assert [size(text) for text in ("10G", "500MB", "1.5k", "0")] == [10**10, 500_000_000, 1500, 0]
    assert run_engine().error is None
    with locked_cache(diamond.folder) as cache:
        files = [path for path in Path(".dvc/cache").rglob("*") if path.is_file() and path.name != "inkflow.lock"]
        assert cache.size() == sum(path.stat().st_size for path in files) > 0
