"""Transfers the result of a stage through a DVC remote, from the clone that ran it to one that did not."""

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import httpx
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.core.errors import TransferFailed
from flows.dvc_repo.remote.results import Remote
from flows.dvc_repo.remote.stage_transfer import WorkerProject
from flows.dvc_repo.repository import Repository
from flows.engine.types import Outcome, Result
from tests.conftest import Toy, run_engine
from tests.flows.workers.services import Service, free_port, is_listening

STAGES = """
stages:
  s:
    cmd: mkdir -p folder; cp in folder/a; cp in folder/b; echo 1 > m.json; cp in out
    deps: [in]
    outs: [folder, out]
    metrics: [{m.json: {cache: false}}]
"""


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run an S3 server and return DVC's settings for a bucket on it."""
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with Service(command, tmp_path / "moto.log", lambda: is_listening(port), env=dict(os.environ)).running():
        url = f"http://127.0.0.1:{port}"
        httpx.put(f"{url}/bucket", timeout=240).raise_for_status()
        yield f"s3://bucket/some/folder\n    endpointurl = {url}"


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_result_is_transferred(toy: Toy, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """Folder, file and metric come back unchanged; a truncated entry of the run cache is ignored."""
    url = str(tmp_path / "remote") if kind == "folder" else request.getfixturevalue("s3")
    (tmp_path / "remote").mkdir()
    toy.write({"dvc.yaml": STAGES, "in": "one\n"})
    toy.write({".dvc/config": f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n"})
    assert run_engine("s").ran == ["s"]
    with Repository() as repository:
        key = repository.run_key("s")
    project = WorkerProject(toy.folder, 5, threading.Event())
    project.push_result("s", key)
    project.close()
    for name in (".dvc/cache", "folder"):
        shutil.rmtree(toy.folder / name)
    for name in ("dvc.lock", "out", "m.json"):
        (toy.folder / name).unlink()
    if kind == "folder":
        (tmp_path / f"remote/runs/{key[:2]}/{key}/{'0' * 64}").write_text("cmd: half")
    with Repository() as repository:
        transfer, stage = repository.transfer(5, threading.Event()), repository.stages()[0]
        assert not transfer.fetch("s", "0" * 64)
        assert transfer.fetch("s", key)
        settled = repository.try_restore(stage)
        assert isinstance(settled, Result)
        assert settled.outcome is Outcome.RESTORED
    assert (toy.read("folder/b"), toy.read("m.json"), toy.read("out")) == ("one\n", "1\n", "one\n")


def test_an_unreachable_remote_fails(toy: Toy) -> None:
    """A remote that stays unreachable fails after the given time, with its own message."""
    toy.write({"dvc.yaml": STAGES, "in": "one\n"})
    url = f"ssh://nobody@127.0.0.1:{free_port()}/nowhere"
    toy.write({".dvc/config": f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n"})
    with Repository() as repository:
        transfer = repository.transfer(0.2, threading.Event())
        with pytest.raises(TransferFailed, match=r"s: the DVC remote could not look up .*; `dvc push`"):
            transfer.fetch("s", "0" * 64)


@pytest.mark.parametrize("out", ["folder", "out"])
def test_a_result_without_contents_is_ignored(toy: Toy, tmp_path: Path, out: str) -> None:
    """`dvc gc --cloud` leaves entries of the run cache whose contents are gone: they are not a result, and a stage that
    needs the contents fails with a message that the remote lacks them.
    """
    stages = STAGES.replace("[folder, out]", f"[{out}]")
    toy.write({"dvc.yaml": stages, "in": "one\n"})
    toy.write({".dvc/config": f"[core]\n    remote = r\n['remote \"r\"']\n    url = {tmp_path / 'remote'}\n"})
    assert run_engine("s").ran == ["s"]
    with Repository() as repository:
        key, transfer = repository.run_key("s"), repository.transfer(5, threading.Event())
        project = WorkerProject(toy.folder, 5, threading.Event())
        project.push_result("s", key)
        assert transfer.fetch("s", key)
        shutil.rmtree(tmp_path / "remote/files")
        shutil.rmtree(toy.folder / ".dvc/cache/files")
        assert not transfer.fetch("s", key)
        outs = YAML(typ="safe").load(toy.read("dvc.lock"))["stages"]["s"]["outs"]
        (value,) = [entry["md5"] for entry in outs if entry["path"] == out]
        with pytest.raises(TransferFailed, match="s: the DVC remote could not provide the stage's data: some of it"):
            project.checkout_inputs("s", {out: value})
        project.close()


def test_a_result_missing_in_the_cache_cannot_be_pushed(toy: Toy, tmp_path: Path) -> None:
    """Pushing a folder that the local cache has lost fails with one sentence."""
    toy.write({"dvc.yaml": STAGES, "in": "one\n"})
    toy.write({".dvc/config": f"[core]\n    remote = r\n['remote \"r\"']\n    url = {tmp_path / 'remote'}\n"})
    assert run_engine("s").ran == ["s"]
    with Repository() as repository:
        key = repository.run_key("s")
    project = WorkerProject(toy.folder, 5, threading.Event())
    for path in (toy.folder / ".dvc/cache/files").rglob("*.dir"):
        path.unlink()
    with pytest.raises(TransferFailed, match="s: the DVC remote could not store the stage's data: the local cache"):
        project.push_result("s", key)
    project.close()


def test_errors_are_those_of_the_own_transfer(tmp_path: Path) -> None:
    """Of two transfers at the same time, each reports the error of its own remote."""
    slow, slow_hashes = broken_remote(tmp_path / "slow", 50)
    quick, quick_hashes = broken_remote(tmp_path / "quick", 1)
    is_over, messages = threading.Event(), []

    def repeat() -> None:
        while not is_over.is_set():
            with pytest.raises(TransferFailed) as error:
                quick.pull("quick", quick_hashes)
            messages.append(str(error.value))

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        with pytest.raises(TransferFailed, match="Is a directory") as error:
            slow.pull("slow", slow_hashes)
    finally:
        is_over.set()
        thread.join()
    assert "/quick/" not in str(error.value)
    assert messages and not any("/slow/" in message or "Is a directory" not in message for message in messages)


def broken_remote(folder: Path, count: int) -> tuple[Remote, list[str]]:
    """Returns a remote with folders in the place of the first and the last of `count` objects, and their hashes."""
    (folder / "project").mkdir(parents=True)
    toy = Toy(folder / "project")
    toy.write({f"data/{number}": f"{number}\n" for number in range(count)})
    toy.write({".dvc/config": f"[core]\n    remote = r\n['remote \"r\"']\n    url = {folder / 'remote'}\n"})
    with chdir(toy.folder):
        with Repo() as repo:
            repo.add("data")
            repo.push()
        objects = sorted(path for path in (folder / "remote").rglob("*") if path.is_file() and path.suffix != ".dir")
        for path in {objects[0], objects[-1]}:
            path.unlink()
            path.mkdir()
        shutil.rmtree(toy.folder / ".dvc/cache")
    return Remote(Repo(str(toy.folder)), 0.0, threading.Event()), [path.parent.name + path.name for path in objects]
