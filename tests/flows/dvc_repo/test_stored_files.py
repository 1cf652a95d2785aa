"""Files that are fetched from another version or from a remote's run cache: whole, and nothing else beside them."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.cli.main import main
from flows.dvc_repo import remotes
from flows.dvc_repo.damaged_objects import set_damaged_aside
from flows.dvc_repo.history.run_files import fetch_files
from flows.dvc_repo.remote.results import store_entry
from tests.conftest import Toy, run_engine
from tests.support.dvc_calls import configure

NAME = "ab/abc/entry"


def test_a_fetched_file_is_alone_in_its_folder(toy: Toy) -> None:
    """The part that a killed process left there is removed with the next fetch."""
    toy.write({"in": "content\n", "copies/.fetched/in": "a p"})
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"], check=True)
    fetch_files(Path(), "HEAD", {"in": Path("copies/in")})
    assert {path: path.read_text() for path in Path("copies").iterdir()} == {Path("copies/in"): "content\n"}


def test_files_of_a_killed_pull_are_removed(toy: Toy, tmp_path: Path) -> None:
    """The next pull stores whole entries, and removes what a killed one left in its two places."""
    toy.write({"dvc.yaml": "stages: {source: {cmd: cp in out, deps: [in], outs: [out]}}\n", "in": "one\n"})
    toy.write({".dvc/config": f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'store'}\n"})
    assert run_engine().error is None
    assert remotes.push_run_cache(Path()) == 1
    [entry] = Path(".dvc/cache/runs").glob("*/*/*")
    content = entry.read_bytes()
    shutil.rmtree(".dvc/cache/runs")
    toy.write({".dvc/tmp/inkflow-runs/ab/abc/entry": "a part", ".dvc/cache/inkflow-entry": "a part"})
    assert remotes.pull_run_cache(Path()) == 1
    assert entry.read_bytes() == content
    assert not Path(".dvc/tmp/inkflow-runs").exists() and not Path(".dvc/cache/inkflow-entry").exists()


def test_an_entry_is_stored_as_a_whole(toy: Toy) -> None:
    """On a full disk the run cache has no part of an entry, from which DVC would restore; the next call stores it."""
    with Repo() as repo:
        cache = Path(repo.cache.legacy.path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                store_entry(repo, NAME, b"a whole entry")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path for path in (cache / "runs").rglob("*") if path.is_file()] == []
        store_entry(repo, NAME, b"another")
        assert (cache / "runs" / NAME).read_bytes() == b"another"
        assert not (cache / "inkflow-entry").exists()


def test_folders_of_a_cache_for_a_group(toy: Toy) -> None:
    """With `cache.shared = group` the group can write in each folder of the cache, as in those that DVC makes."""
    configure("cache", {"shared": "group"})
    toy.write({"dvc.yaml": "stages:\n  s: {cmd: cp in out, deps: [in], outs: [out]}\n", "in": "one\n"})
    toy.write({"execution.yaml": "environment: {python: exact}\n"})
    umask = os.umask(0o022)
    try:
        assert main(["run", "--no-server"]) == 0
        with Repo() as repo:
            store_entry(repo, NAME, b"an entry")
            [out] = repo.index.outs
            path = Path(out.cache_path)
            path.chmod(0o644)
            path.write_text("damaged")
            set_damaged_aside(repo, repo.cache.local, [out.hash_info.value], print)
    finally:
        os.umask(umask)
    folders = [path for path in Path(".dvc/cache").rglob("*") if path.is_dir()]
    assert {"ab", "abc", "environments", "damaged"} <= {path.name for path in folders}
    assert {oct(path.stat().st_mode & 0o7777) for path in folders} == {"0o2775"}
