"""Secrets that are planted in the environment, in addresses and in DVC's configuration appear nowhere afterwards."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Toy
from tests.support.http_server import Behaviour, Server, delayed, hang_up, status, text
from tests.support.loopback import free_port
from tests.support.model_server import model_server
from tests.support.pictures import write_reader
from tests.support.root import ROOT
from tests.support.tiny_data import write_params
from tests.torture.conftest import Rounds, Try
from tests.torture.support.secrets import (
    GIT_TOKEN,
    REMOTE_PASSWORD,
    URL_PASSWORD,
    URL_SIGNATURE,
    URL_TOKEN,
    VARIABLES,
    every_secret,
    found,
    leaks,
    watched_command_lines,
)

SUBJECT = "Injection and secrets"
# A stage that tells all that it knows, and one that fails with it.
TELL = """
import os, subprocess, sys, json
names = json.loads(os.environ["NAMES"])
known = "\\n".join(os.environ[name] for name in names) + open(".dvc/config.local").read()
known += subprocess.run(["git", "config", "--get", "remote.origin.url"], capture_output=True, text=True).stdout
print(known, flush=True)
print(known, file=sys.stderr, flush=True)
if sys.argv[1:] == ["fail"]:
    sys.exit("error: " + " ".join(known.split()))
open((sys.argv[1:] or ["told"])[0], "w").write('{"loss": 1}')
"""
GRAPH = """
stages:
  tell: {cmd: python tell.py, deps: [tell.py], outs: [told]}
  fail: {cmd: python tell.py fail, deps: [tell.py], outs: [never]}
"""
FIT = """
stages:
  tell: {cmd: python tell.py, deps: [tell.py], outs: [told]}
  fit: {cmd: python tell.py m.json, deps: [tell.py], params: [a], metrics: [m.json: {cache: false}]}
artifacts:
  net: {path: told, type: model}
"""
PLANTED = frozenset({".dvc/config.local", ".git/config", "tell.py", "tiny/params.yaml"})
FAULTS: Mapping[str, Behaviour] = {
    "401": text(401, b'{"message": "Bad credentials"}'),
    "404": status(404),
    "500": status(500),
    "another thing": text(200, b"<html>"),
    "hangs up": hang_up,
    "slow": delayed(status(503), 0.5),
}
KEYLESS = {"PREFECT_API_AUTH_STRING": "", "PREFECT_API_KEY": ""}  # the server of a run wants none


class Act(NamedTuple):
    """Something that is done, and a part of its output that shows that it was done."""

    name: str
    run: Callable[[], str]
    does: str
    given: tuple[str, ...] = ()  # secrets that its own arguments or those of Git's programs show


@pytest.fixture
def told(toy: Toy, tmp_path: Path) -> Toy:
    """A project whose stages print all secrets, with secrets in its remotes of DVC and of Git."""
    toy.write(
        {
            "dvc.yaml": GRAPH,
            "tell.py": TELL,
            "params.yaml": "a: 1\n",
            ".inkflow/ci/check.md": f"### check\n\n{VARIABLES['STORE_PASSWORD']}\n",
            "event.json": json.dumps({"pull_request": {"number": 7}}),
            ".dvc/config.local": (
                "[core]\n    remote = store\n['remote \"store\"']\n"
                f"    url = http://me:{REMOTE_PASSWORD}@127.0.0.1:{free_port()}/x?token={URL_TOKEN}\n"
                f"    password = {REMOTE_PASSWORD}\n"
            ),
        }
    )
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    address = f"https://{GIT_TOKEN}@127.0.0.1:{free_port()}/us/inkflow.git"
    for arguments in (
        ["add", "dvc.yaml", "params.yaml"],
        ["commit", "-qm", "one"],
        ["remote", "add", "origin", address],
    ):
        subprocess.run([*git, *arguments], cwd=toy.folder, check=True)
    (toy.folder / ".inkflow/ci/check.md").unlink()
    return toy


class Caller:
    """Runs programs in the project with all secrets in their environment, and keeps what they print."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.own = folder, folder.parent / "own"
        for name in ("home", "tmp"):
            (self.own / name).mkdir(parents=True)
        unset = ("PREFECT_API_URL", "GITHUB_ACTIONS", "GITLAB_CI")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        self.environment = inherited | dict(VARIABLES) | {
            "NAMES": json.dumps(list(VARIABLES)), "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / ".prefect"),
            "HOME": str(self.own / "home"), "TMPDIR": str(self.own / "tmp"), "NO_PROXY": "127.0.0.1",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **environment,
        }  # fmt: skip

    def __call__(self, *words: str, **environment: str) -> str:
        """Returns all that `inkflow WORDS` prints; it has to end without a traceback."""
        done = subprocess.run(
            [sys.executable, "-m", *(words if words[0].startswith("stages.") else ("flows", *words))],
            cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, timeout=600,
            check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert "Traceback" not in output, output
        return output


def test_a_planted_secret_is_found(tmp_path: Path) -> None:
    """The search finds a secret in a file, in a name, in a packed file, and in an object of git that no file has."""
    secret, packed = "planted-99-control", tmp_path / "packed.gz"
    (tmp_path / "plain.txt").write_text(f"a {secret} b")
    (tmp_path / f"name-{secret}").touch()
    packed.write_bytes(gzip.compress(secret.encode()))
    (tmp_path / "clean.txt").write_text("nothing")
    git = ["git", "-C", str(tmp_path / "project")]
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "project")], check=True)
    subprocess.run([*git, "hash-object", "-w", "--stdin"], input=secret, text=True, capture_output=True, check=True)
    assert leaks(tmp_path, frozenset({"plain.txt"}), [secret]) == {
        name: [secret] for name in ("project/.git: objects", f"name-{secret}", "packed.gz")
    }
    assert leaks(tmp_path, frozenset(), [secret])["plain.txt"] == [secret]


@pytest.mark.farm
@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_planted_secrets(promise: Try, rounds: Rounds, told: Toy) -> None:
    """Whatever is run and whatever fails: no secret is printed, written, or shown in a command line."""
    secrets, call = every_secret(), Caller(told.folder)
    how = f"{len(secrets)} secrets in variables, addresses and remotes; runs, reports and comments; servers that fail"
    if rounds(0, 1):
        how += "; models that are served, asked, promoted and searched"
    sentence = (
        "A secret of at least 5 characters from the environment, an address or a remote is printed, shown or written "
        "nowhere by Inkflow; the outputs of a stage are not changed."
    )
    with promise(SUBJECT, sentence, how) as tried, Server().running() as server:
        for name, act, does, given in _acts(call, server, rounds(1, len(FAULTS))):
            with tried.attempt(name), watched_command_lines([each for each in secrets if each not in given]) as shown:
                output = act()
                assert does in output, f"it does not say {does!r}: {output}"
                assert not found(output.encode(errors="replace"), secrets), output
                assert not shown, shown
                assert not (written := leaks(told.folder, PLANTED, secrets)), written
                assert not (written := leaks(call.own, frozenset(), secrets)), written


def _acts(call: Caller, server: Server, faults: int) -> list[Act]:
    """Returns what is done."""
    address = server.url.replace("://", f"://me:{URL_PASSWORD}@")
    address = f"{address}/x.npz?token={URL_TOKEN}&X-Amz-Signature={URL_SIGNATURE}"
    acts = [
        Act("run", lambda: call("run", "--no-server", "--keep-going"), "1 of 2 stages ran, 1 failed"),
        Act("status", lambda: call("status"), "no server: PREFECT_API_URL is not set"),
        Act("run --pull", lambda: call("run", "--no-server", "--pull", "tell"), "of the run cache pulled"),
        Act("report --runs", lambda: call("report", "--runs"), ".inkflow/report/runs.html"),
    ]
    if faults > 1:
        acts += [
            Act("plan --json", lambda: call("plan", "--json"), '"verdict": "unchanged"'),
            Act("compare", lambda: call("compare", "HEAD"), "modified"),
            Act("run with a server", lambda: call("run", "--keep-going", **KEYLESS), "0 of 2 stages ran, 1 failed"),
            Act("push", lambda: call("run", "--no-server", "--push", "tell"), "error: the DVC remote store"),
            Act("doctor", lambda: call("doctor"), "DVC remote      store"),
            Act("deps", lambda: call("deps"), "tell: 1 file; ok"),
            Act("sweep", lambda: call("sweep", "--grid", "a=1,2", "tell", **KEYLESS), "a=2"),
            Act(
                "a server that is not there",
                lambda: call("run", PREFECT_API_URL=f"http://me:{URL_PASSWORD}@127.0.0.1:9/api"),
                "cannot be used",
            ),
            *_models(call),
        ]
    for name in list(FAULTS)[:faults]:
        requests = _requests(call, server, address)[: None if faults > 1 else 2]
        acts += [Act(f"{act.name}: {name}", _at(server, name, act), act.does) for act in requests]
    return acts


def _models(call: Caller) -> list[Act]:
    """Returns what serves, asks, promotes and searches models; the graph is another one afterwards."""
    address = f"http://me:{URL_PASSWORD}@127.0.0.1:9/x.png?token={URL_TOKEN}"
    search = ("sweep", "--search", "random", "--objective", "m.json:loss", "--space", "a=1..9:int", "--trials", "2")

    def serve() -> str:
        write_reader(call.folder / "models/reader/model.onnx")
        token = {"Authorization": f"Bearer {VARIABLES['INKFLOW_SERVE_TOKEN']}"}
        with model_server(call.folder, "serve", "reader", environment=call.environment, module="flows") as client:
            answers = [client.get(path, headers=head) for path in ("/card", "/metrics", "/x") for head in (token, {})]
            answers.append(client.get("/card", headers={"Authorization": f"Bearer {VARIABLES['SSHPASS']}"}))
            answers.append(client.post("/predict", headers=token, content=b"x"))
        log = (call.folder / "serve.log").read_text()
        return "\n".join([*(f"{answer.status_code} {answer.headers} {answer.text}" for answer in answers), log])

    def with_models(*words: str) -> str:
        (call.folder / "dvc.yaml").write_text(FIT)
        call("run", "--no-server")
        git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
        for arguments in (["add", "-A"], ["commit", "-qm", "models", "--allow-empty"]):
            subprocess.run([*git, *arguments], cwd=call.folder, check=True, env=call.environment)
        me = {f"GIT_COMMITTER_{name}": "n" for name in ("NAME", "EMAIL")}
        return call(*words, **me, **KEYLESS)

    return [
        Act("serve", serve, "serving reader"),
        Act("predict of an address", lambda: call("predict", "reader", address), "***", (URL_PASSWORD, URL_TOKEN)),
        Act("promote", lambda: with_models("promote", "net", "prod"), "net v0.0.1"),
        # Git passes the address of its remote to its own program for HTTPS.
        Act("promote --push", lambda: with_models("promote", "net", "test", "--push"), "error: ", (GIT_TOKEN,)),
        Act("search", lambda: with_models(*search, "fit"), "trial"),
    ]


def _at(server: Server, fault: str, act: Act) -> Callable[[], str]:
    def answered() -> str:
        server.paths.clear()
        server.respond_with(FAULTS[fault])
        output = act.run()
        assert server.paths, f"no request arrived: {output}"
        return output

    return answered


def _requests(call: Caller, server: Server, address: str) -> list[Act]:
    """Returns what asks a server that has a fault."""
    github = {
        "GITHUB_ACTIONS": "true", "GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": "us/inkflow",
        "GITHUB_EVENT_PATH": str(call.folder / "event.json"),
    }  # fmt: skip
    gitlab = {"GITLAB_CI": "true", "CI_API_V4_URL": server.url, "CI_PROJECT_ID": "42", "CI_MERGE_REQUEST_IID": "7"}

    def comment(**job: str) -> str:
        summary = call.folder / ".inkflow/ci/check.md"
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text("### check\n")
        return call("ci", "comment", **job)

    def download() -> str:
        (call.folder / "tiny").mkdir(exist_ok=True)
        write_params(call.folder / "tiny", address)
        paths = ("--params", "tiny/params.yaml", "--out", "tiny/raw")
        return call("stages.download", *paths, INKFLOW_MIRROR="", KERAS_HOME=str(call.folder / "tiny/keras"))

    return [
        Act("comment at GitHub", lambda: comment(**github), "the comment could not be written"),
        Act("download", download, f"{server.url}/x.npz: "),
        Act("comment at GitLab", lambda: comment(**gitlab), "the comment could not be written"),
        Act("status of a server", lambda: call("status", PREFECT_API_URL=f"{server.url}/api"), "gives no answer"),
    ]
