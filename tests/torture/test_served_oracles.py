"""The helpers of the tests of served and registered models: each kind of mistake that they look for is found."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.loopback import JsonHandler, free_port, serving
from tests.support.steady_load import Holders, SteadyLoad
from tests.torture.support.killed_commands import Ended
from tests.torture.support.registry_state import flaws, holders, unpushed
from tests.torture.test_served_promotions import CASES, FIRST, HELD

MARKS = {"v0.0.1": "one", "v0.0.2": "two"}
CUT = ""  # in place of a version: the server ends without an answer
PIPELINE = "artifacts:\n  net: {path: model.bin}\n"
LOCK = "stages:\n  train:\n    outs:\n    - {path: model.bin, md5: %s}\n"


class Model(JsonHandler):
    """A model that answers by the versions of a list, one after the other, and by the last one for ever."""

    versions: list[str]

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        """Answers that the picture shows a 0, or not at all."""
        self.rfile.read(int(self.headers["Content-Length"]))
        version = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        if version != CUT:
            label = {"name": "label", "data": [f"{MARKS[version]} 0"]}
            self.answer(200, {"model_version": version, "outputs": [label]})


def _asked(*versions: str, repeat_s: float = 0.0, among: Holders | None = None) -> SteadyLoad:
    """Makes three requests of a server that answers by `versions`, or of none, and returns what the client noted."""
    Model.versions = list(versions)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Model) if versions else None
    port = http.server_port if http else free_port()
    with serving(http) if http else nullcontext(), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        with SteadyLoad(client, "net", MARKS, requests=3, clients=1, repeat_s=repeat_s, holders=among) as load:
            load.enough.set()
        return load


def test_an_answer_by_another_version_than_the_holder_is_found() -> None:
    """Before a change only the old version may answer, while the server changes over both, then only the new one."""
    stage = Holders("v0.0.1")
    assert _right(stage) == (True, False)
    with stage.change("v0.0.2"):
        assert _right(stage) == (True, True)
    assert _right(stage) == (False, True)
    with stage.change("v0.0.1"):
        pass
    assert _right(stage) == (True, False)


def _right(stage: Holders) -> tuple[bool, ...]:
    return tuple(_asked(version, among=stage).wrong == [] for version in MARKS)


def test_a_request_from_before_a_change_may_get_the_old_version() -> None:
    """What counts is when the request was made."""
    stage = Holders("v0.0.1")
    with stage.change("v0.0.2"):
        pass
    [period, _] = stage._periods
    assert stage.may_answer("v0.0.1", period.until) and not stage.may_answer("v0.0.1", period.until + 1e-6)


def test_requests_that_are_cut_off_are_counted() -> None:
    """One that the server did not answer counts, and is repeated; one that it never answers is a mistake."""
    load = _asked("v0.0.1", CUT, "v0.0.1", repeat_s=60)
    assert (len(load.cut_off), load.wrong, load.versions.total()) == (1, [], 3)
    load = _asked("v0.0.1", CUT, repeat_s=0.3)
    assert load.cut_off != [] and "disconnected" in load.wrong[0]


def test_a_refused_connection_is_no_request_that_was_cut_off() -> None:
    """Without a server nothing is cut off; a client that gets no answer in time has noted it."""
    load = _asked(repeat_s=0.3)
    assert load.cut_off == [] and "ConnectError" in load.wrong[0]


@pytest.mark.parametrize(
    ("command", "code", "output", "is_accepted"),
    [
        ("promote", 0, "net v0.0.2 is in prod\n", True),
        ("promote", 2, f"error: {HELD}\n", True),
        ("promote", 2, f"error: {FIRST}\n", False),
        ("promote", 2, "error: a tag cannot be read\n", False),
        ("promote", 1, f"Traceback (most recent call last):\nerror: {HELD}\n", False),
        ("promote --push", 2, f"error: {HELD}\n", False),
        ("promote --push", 2, "error: the DVC remote cannot be used\n", False),
        ("rollback", 2, f"error: {FIRST}\n", True),
        ("rollback --push", 2, f"error: {FIRST}\n", True),
        ("rollback --push", 2, "error: git push: rejected\n", False),
        ("rollback --push", 2, "", False),
    ],
)
def test_what_a_repeated_command_may_say(command: str, code: int, output: str, is_accepted: bool) -> None:
    """Success, or the sentence of the command that there is nothing left to do."""
    [case] = [case for case in CASES if case.name == command]
    assert case.accepts(Ended(code, output, 0, 0.0)) == is_accepted


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A project with two versions, of which v0.0.2 holds `prod`, and whose remote has all of its tags."""
    project = tmp_path / "project"
    for command in (f"init -q --bare {tmp_path}/origin.git", f"init -q {project}"):
        subprocess.run(["git", *command.split()], check=True)
    _git(project, "remote", "add", "origin", "../origin.git")
    (project / "dvc.yaml").write_text(PIPELINE)
    for number in (1, 2):
        digest = hashlib.md5(f"model {number}".encode(), usedforsecurity=False).hexdigest()
        (project / "dvc.lock").write_text(LOCK % digest)
        _git(project, "add", "dvc.yaml", "dvc.lock")
        _git(project, "commit", "-qm", f"model {number}")
        for name in (f"net@v0.0.{number}", f"net#prod#{number}"):
            _git(project, "tag", "-am", name, name, second=number)
        files = (project / f".inkflow/models/net@v0.0.{number}/model.bin", _cached(project, number))
        for file in files:
            file.parent.mkdir(parents=True)
            file.write_text(f"model {number}")
        _record(project, number, "HEAD")
    _git(project, "push", "-q", "--tags", "origin")
    return project


def test_a_registry_that_agrees(registry: Path) -> None:
    """Tags, remote, cache and files agree, and the last tag of a stage names its version."""
    assert (list(flaws(registry, "net")), unpushed(registry), holders(registry, "net")) == ([], [], {"prod": "v0.0.2"})


@pytest.mark.parametrize(
    ("disturb", "found"),
    [
        (lambda project: _cached(project, 1).unlink(), "net@v0.0.1: the cache"),
        (lambda project: _cached(project, 2).write_text("model"), "net@v0.0.2: the cache"),
        (lambda project: (project / ".inkflow/models/net@v0.0.2/model.bin").write_text("model"), "no right model.bin"),
        (lambda project: shutil.rmtree(project / ".inkflow/models/net@v0.0.2"), "no right model.bin"),
        (lambda project: _record(project, 2, "HEAD~1"), "of another version"),
        (lambda project: (project / ".inkflow/models/net@v0.0.2/version.json").unlink(), "of another version"),
        (lambda project: (project / ".inkflow/models/net@v0.0.1/model.bin").unlink(), ""),
    ],
)
def test_a_registry_that_disagrees(registry: Path, disturb: Callable[[Path], object], found: str) -> None:
    """A version without its files is named; that of no stage needs none in `.inkflow/models`."""
    disturb(registry)
    assert found in "".join(flaws(registry, "net")) and any(flaws(registry, "net")) == bool(found)


def test_a_stage_that_moved_without_its_files_is_found(registry: Path) -> None:
    """The version of a stage's last tag counts."""
    shutil.rmtree(registry / ".inkflow/models/net@v0.0.1")
    _git(registry, "tag", "-am", "back", "net#prod#3", "HEAD~1", second=3)
    assert holders(registry, "net") == {"prod": "v0.0.1"}
    assert next(flaws(registry, "net")).startswith("net@v0.0.1 holds prod")


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (["tag", "-am", "new", "net#prod#3", "HEAD~1"], "net#prod#3"),  # a rollback that was not pushed
        (["tag", "-fam", "moved", "net@v0.0.2", "HEAD~1"], "net@v0.0.2"),
        (["tag", "-d", "net#prod#1"], "net#prod#1"),
    ],
)
def test_a_tag_that_the_remote_does_not_share_is_found(registry: Path, command: list[str], found: str) -> None:
    """A tag of one side alone, and another object of the same name."""
    _git(registry, *command)
    assert unpushed(registry) == [found]


def _cached(project: Path, number: int) -> Path:
    digest = hashlib.md5(f"model {number}".encode(), usedforsecurity=False).hexdigest()
    return project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def _record(project: Path, number: int, revision: str) -> None:
    folder = project / f".inkflow/models/net@v0.0.{number}"
    digest = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    commit = _git(project, "rev-parse", revision)
    content = {"model": "net", "version": f"v0.0.{number}", "commit": commit, "sha256": digest, "digest": "0"}
    (folder / "version.json").write_text(json.dumps(content))


def _git(project: Path, *arguments: str, second: int = 0) -> str:
    author = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_NAME": "Ada"}
    moment = {"GIT_COMMITTER_EMAIL": "ada@example.org", "GIT_COMMITTER_DATE": f"2026-11-30T00:00:0{second}Z"}
    command = ["git", "-c", "advice.nestedTag=false", *arguments]
    done = subprocess.run(command, cwd=project, env=os.environ | author | moment, check=True, capture_output=True)
    return done.stdout.decode().strip()
