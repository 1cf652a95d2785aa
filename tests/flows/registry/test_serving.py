"""`inkflow serve MODEL@STAGE` in a project: the stage moves under load, and the server is killed."""

import os
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from flows.cli.main import main as inkflow
from flows.cli.models.serve import _own_pointer
from flows.registry.model_files import fetch_model
from stages.base.files import replacing
from tests.conftest import Toy, wait_until
from tests.stages.serve.test_serve import tensor
from tests.support.model_server import following_server, model_server
from tests.support.registered_reader import MODEL, commit_version, git, reader
from tests.support.root import ROOT
from tests.support.stalled_server import address, stalled_server, waiting_processes
from tests.support.steady_load import REQUESTS, SteadyLoad

__all__ = ["reader"]  # the fixture

INFER = "/v2/models/reader/infer"


def version(client: httpx.Client) -> str:
    """The version that the server has now."""
    return str(client.get("/card").json()["model_version"])


@pytest.mark.farm
def test_the_stage_moves_under_load(reader: Toy) -> None:
    """Promotion and rollback change the model of a server under load; no request fails, and none gets a mixture."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    with following_server(reader.folder, "reader@prod") as (client, _):
        assert version(client) == "v0.0.1"
        commit_version("two")
        with SteadyLoad(client, "reader", {"v0.0.1": "one", "v0.0.2": "two"}, requests=REQUESTS) as load:
            wait_until(lambda: load.versions["v0.0.1"] > 100 or bool(load.wrong), timeout_s=120)
            assert inkflow(["promote", "reader", "prod"]) == 0
            wait_until(lambda: load.versions["v0.0.2"] > 100 or bool(load.wrong), timeout_s=120)
            before = load.versions["v0.0.1"]
            assert inkflow(["rollback", "prod"]) == 0
            wait_until(lambda: load.versions["v0.0.1"] > before + 100 or bool(load.wrong), timeout_s=120)
        assert load.wrong == []
        assert load.versions.total() >= REQUESTS and set(load.versions) == {"v0.0.1", "v0.0.2"}
        assert version(client) == "v0.0.1"


@pytest.mark.farm
def test_a_tampered_version_does_not_come_into_use(reader: Toy) -> None:
    """If the stage moves to a version whose file was changed, the server says so and keeps the one that it has."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    with following_server(reader.folder, "reader@prod") as (client, _):
        commit_version("two")
        digest = subprocess.run(["md5sum", MODEL], check=True, capture_output=True, text=True).stdout.split()[0]
        cached = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        content = cached.read_bytes()
        assert inkflow(["promote", "reader", "staging"]) == 0
        cached.chmod(0o644)
        cached.write_bytes(b"tampered")
        subprocess.run(["gto", "assign", "reader", "--version", "v0.0.2", "--stage", "prod"], check=True)
        log = reader.folder / "serve.log"
        wait_until(lambda: "the version so far stays" in log.read_text(), timeout_s=120)
        assert "neither in git, the cache nor a remote" in log.read_text()
        assert version(client) == "v0.0.1"
        cached.write_bytes(content)  # mended: the server takes it by itself
        wait_until(lambda: version(client) == "v0.0.2", timeout_s=120)


LATE = """
import subprocess, sys
from pathlib import Path
from flows.cli.main import main
from flows.cli.models import serve

resolve = serve._resolve


def late(root, model):
    folder = resolve(root, model)
    if not Path("late").exists():
        Path("late").touch()
        subprocess.run([sys.executable, "-P", "-m", "flows", "promote", "reader", "prod"], check=True)
    return folder


serve._resolve = late
main()
"""


@pytest.mark.farm
def test_a_promotion_while_the_server_starts(reader: Toy, tmp_path: Path) -> None:
    """If the stage moves while the files of its version are fetched, the server goes on to the next version."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    commit_version("two")
    (reader.folder / ".git/info/exclude").write_text("late\n")
    (tmp_path / "late_promotion.py").write_text(LATE)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with model_server(
        reader.folder, "serve", "reader@prod", module="late_promotion", environment=environment
    ) as client:
        wait_until(lambda: version(client) == "v0.0.2", timeout_s=120)


@pytest.mark.farm
@pytest.mark.parametrize("victim", [pytest.param("server", marks=pytest.mark.farm), "follower"])
def test_a_remote_of_git_that_never_answers(reader: Toy, victim: str) -> None:
    """While --fetch waits for the remote, the end of the server and SIGTERM are seen at once, and no git is left."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    with stalled_server() as listener:
        git("remote", "add", "origin", address(listener))
        with following_server(reader.folder, "reader@prod", "--fetch=0.1") as (_, process):
            wait_until(lambda: waiting_processes(listener) != [], timeout_s=120)
            [server] = [each for each in psutil.Process(process.pid).children() if "stages.serve" in each.cmdline()]
            if victim == "server":
                server.kill()
            else:
                process.terminate()
            assert process.wait(timeout=240) == (-signal.SIGKILL % 256 if victim == "server" else 0)
        wait_until(lambda: waiting_processes(listener) == [], timeout_s=60)
    log = (reader.folder / "serve.log").read_text()
    assert "the version so far stays" not in log and "are not fetched" not in log


@pytest.mark.farm
def test_a_remote_of_git_that_is_away(reader: Toy) -> None:
    """If --fetch fails, that is said once, and a promotion in the same repository is followed nevertheless."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    git("remote", "add", "origin", str(reader.folder / "away"))
    with following_server(reader.folder, "reader@prod", "--fetch=0.1") as (client, _):
        log, failed = reader.folder / "serve.log", "serve: the tags of Git's remote are not fetched: git ls-remote: "
        wait_until(lambda: failed in log.read_text(), timeout_s=120)
        commit_version("two")
        assert inkflow(["promote", "reader", "prod"]) == 0
        wait_until(lambda: version(client) == "v0.0.2", timeout_s=120)
        assert log.read_text().count(failed) == 1
        assert "the version so far stays" not in log.read_text()


@pytest.mark.farm
def test_a_pointer_that_is_removed_or_changed_is_written_again(reader: Toy) -> None:
    """If the file that names the folder of the model is lost or changed, it is written again; the server follows on."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    with following_server(reader.folder, "reader@prod") as (client, _):
        [pointer] = (reader.folder / ".inkflow/serve").glob("*.json")
        content = pointer.read_text()
        pointer.unlink()
        wait_until(pointer.exists, timeout_s=120)
        assert pointer.read_text() == content
        pointer.write_text('{"folder": "other", "sha256": ""}')
        wait_until(lambda: pointer.read_text() == content, timeout_s=120)
        commit_version("two")
        pointer.unlink()
        assert inkflow(["promote", "reader", "prod"]) == 0
        wait_until(lambda: version(client) == "v0.0.2", timeout_s=120)


@pytest.mark.parametrize("victim", [pytest.param("server", marks=pytest.mark.farm), "follower"])
@pytest.mark.farm
def test_a_killed_server_starts_again(reader: Toy, victim: str) -> None:
    """After a kill -9 of one of its two processes the other one ends too; the next start has the port and the model."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    with following_server(reader.folder, "reader@prod") as (client, process):
        port = client.base_url.port
        [server] = psutil.Process(process.pid).children()
        (server if victim == "server" else process).send_signal(signal.SIGKILL)
        assert process.wait(timeout=240) != 0
        server.wait(timeout=240)
    left = list((reader.folder / ".inkflow/serve").glob("*.json"))
    assert len(left) == (1 if victim == "follower" else 0)
    with following_server(reader.folder, "reader@prod", f"--port={port}") as (client, _):
        assert client.post(INFER, json=tensor([7])).json()["model_version"] == "v0.0.1"
        [own] = (reader.folder / ".inkflow/serve").glob("*.json")
        assert own not in left
    assert list((reader.folder / ".inkflow/serve").glob("[!.]*")) == []


def test_two_servers_with_the_same_process_id_have_files_of_their_own(tmp_path: Path) -> None:
    """As in two containers that share a project: none writes or removes the other's; those of killed ones go."""
    for name in ("99999999.json", "left.json", "left.lock", ".7-7.tmp.json"):
        (tmp_path / name).touch()
    with _own_pointer(tmp_path) as first:
        first.touch()
        with replacing(tmp_path / "8.json") as written, _own_pointer(tmp_path) as second:
            second.touch()
            files = {path for pointer in (first, second) for path in (pointer, pointer.with_suffix(".lock"))}
            assert set(tmp_path.glob("[!.]*")) == files and len(files) == 4
            assert written.exists()
        assert first.exists() and not second.exists()
    assert set(tmp_path.glob("[!.]*")) == {tmp_path / "8.json"}


def test_prune_removes_the_files_of_a_version_without_a_stage(reader: Toy) -> None:
    """Old files of a version that holds no stage are removed, and come back when the version is asked for."""
    assert inkflow(["promote", "reader", "prod"]) == 0
    first = fetch_model(reader.folder, "reader@prod").path
    commit_version("two")
    assert inkflow(["promote", "reader", "prod"]) == 0
    second = fetch_model(reader.folder, "reader@prod").path
    for path in [*first.parent.iterdir(), *second.parent.iterdir()]:
        os.utime(path, (0, 0))
    assert inkflow(["prune", "--older-than", "30d", "--also-for", "."]) == 0
    assert (first.exists(), second.exists()) == (False, True)
    assert fetch_model(reader.folder, "reader@v0.0.1").path == first
    assert first.exists()
