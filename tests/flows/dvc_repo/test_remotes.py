"""DVC remotes: a folder, a real OpenSSH server and a real S3 server, configured with the lines of docs/remotes.md."""

import os
import pwd
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.core.errors import NoRemote, RemoteFailed, UnknownStage
from flows.dvc_repo import remotes
from flows.dvc_repo.remote.key import use_key
from tests.conftest import Inkflow, Toy, run_engine
from tests.support.commands import dvc, run_python
from tests.support.copied_toy import copied_toy
from tests.support.loopback import free_port
from tests.support.remote_servers import SECRET, SshServer, s3_server, ssh_server
from tests.support.root import ROOT

PIPELINE = """
stages:
  source:
    cmd: echo >> source.runs; mkdir -p out/sub; cp in out/one; echo two > out/sub/two
    deps: [in]
    outs: [out]
  join:
    cmd: >-
      echo >> join.runs; cat out/one out/sub/two > joined; echo '{"lines": 2}' > score.json
    deps: [out]
    outs: [joined]
    metrics: [{score.json: {cache: false}}]
"""
KINDS = ("folder", "ssh", "s3")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """Start an OpenSSH server."""
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an S3 server, and yield its URL."""
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


def make_clone(folder: Path) -> None:
    """Makes a committed project whose stages ran."""
    Toy(folder).write({"dvc.yaml": PIPELINE, "in": "one\n", ".gitignore": "/*.runs\n/.inkflow\n/out\n/joined\n"})
    assert run_engine().error is None
    commit(folder)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current folder. The environment has credentials for S3."""
    toy = copied_toy(make_clone, tmp_path / "toy", monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "trainer")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return toy


def commit(folder: Path) -> None:
    """Commit all files that git does not ignore."""
    for words in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


@pytest.fixture
def set_up(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Return a function that configures a remote with the lines of docs/remotes.md, with real addresses."""

    def configure(kind: str, folder: Path, address: str | None = None, key: str | None = None) -> None:
        block = re.search(rf"```sh {kind}\n(.*?)```", (ROOT / "docs/remotes.md").read_text(), re.DOTALL)
        assert block, f"docs/remotes.md has no block {kind}"
        lines = block[1].replace("-d store", "-q -f -d store")
        if kind == "folder":
            lines = lines.replace("/srv/inkflow", address or str(tmp_path / "store"))
        elif kind == "ssh":
            server: SshServer = request.getfixturevalue("sshd")
            lines = lines.replace("ssh://store.example.org:22/srv/inkflow", address or f"{server.url}/{tmp_path.name}")
            lines = lines.replace("~/.ssh/id_ed25519", key or str(server.key))
            lines = lines.replace("user trainer", f"user {pwd.getpwuid(os.getuid()).pw_name}")
        else:
            lines = lines.replace("https://minio.example.org", request.getfixturevalue("s3"))
            lines = lines.replace("s3://inkflow/store", address or f"s3://inkflow/{tmp_path.name}")
        for line in lines.splitlines():
            dvc(*shlex.split(line.removeprefix("dvc ")), folder=folder)

    return configure


def call(*arguments: str, preexec_fn: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `inkflow` in the current folder without a Prefect server, which it does not need if no stage runs."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # the modules of this repository
    if preexec_fn is None:
        return run_python("-m", "flows", *arguments, environment=environment)
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(command, preexec_fn=preexec_fn, env=environment, capture_output=True, text=True)


def second(clone: Toy) -> Path:
    """Clone the project, as on another machine, and return the clone's folder."""
    folder = clone.folder.with_name("second")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", str(clone.folder), str(folder)], check=True)
    if (local := clone.folder / ".dvc/config.local").exists():
        shutil.copyfile(local, folder / ".dvc/config.local")
    return folder


@pytest.mark.server
@pytest.mark.farm
@pytest.mark.parametrize("kind", KINDS)
def test_another_clone_restores_all(kind: str, clone: Toy, set_up: Callable[..., None], inkflow: Inkflow) -> None:
    """After `inkflow run --push` in one clone, `inkflow run --pull` in another restores all stages and runs none, even
    if only the run cache has the result.
    """
    set_up(kind, clone.folder)
    clone.write({"in": "other\n"})  # the committed dvc.lock has no result for this input
    assert run_engine().error is None
    subprocess.run(["git", "checkout", "-q", "dvc.lock"], check=True)
    commit(clone.folder)
    assert remotes.missing_in_remote(Path()) != {}
    pushed = inkflow("run", "--push", folder=clone.folder)
    assert (pushed.returncode, pushed.stderr) == (0, ""), pushed.stdout
    folder = second(clone)
    pulled = inkflow("run", "--pull", folder=folder)
    assert (pulled.returncode, pulled.stderr) == (0, ""), pulled.stdout
    assert "0 of 2 stages ran, 2 restored" in pulled.stdout
    assert not list(folder.glob("*.runs"))
    assert (folder / "joined").read_text() == "other\ntwo\n"
    assert remotes.missing_in_remote(folder) == {}


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", KINDS)
def test_push_and_pull(kind: str, clone: Toy, set_up: Callable[..., None]) -> None:
    """Pushed files are in the remote; a second push sends none; another clone pulls them; targets limit both."""
    set_up(kind, clone.folder)
    commit(clone.folder)
    assert remotes.missing_in_remote(Path()) == {"source": ["out"], "join": ["joined"]}
    assert remotes.push(Path(), ["join"]) == 1
    assert remotes.missing_in_remote(Path()) == {"source": ["out"]}
    assert (remotes.push(Path()), remotes.push(Path())) == (3, 0)
    assert (remotes.push_run_cache(Path()), remotes.push_run_cache(Path())) == (2, 0)
    folder = second(clone)
    assert remotes.missing_in_remote(folder) == {}
    assert remotes.pull(folder, ["source"]) == 3
    assert (folder / "out/sub/two").read_text() == "two\n"
    with pytest.raises(UnknownStage, match="unknown stage 'joint'; did you mean 'join'"):
        remotes.pull(folder, ["joint"])
    assert not (folder / "joined").exists()
    assert (remotes.pull_run_cache(folder), remotes.pull_run_cache(folder)) == (2, 0)


def test_missing_outputs_have_names(clone: Toy, set_up: Callable[..., None], tmp_path: Path) -> None:
    """An output is missing if the remote lacks one file of its folder, although DVC's index says otherwise."""
    set_up("folder", clone.folder)
    commit(clone.folder)
    remotes.push(Path())
    assert remotes.missing_in_remote(Path()) == {}
    [path] = [
        path for path in (tmp_path / "store/files").rglob("*") if path.is_file() and path.read_bytes() == b"two\n"
    ]
    path.unlink()
    assert remotes.missing_in_remote(second(clone)) == {"source": ["out"]} == remotes.missing_in_remote(Path())


@pytest.mark.farm
def test_truncated_entry_is_ignored(clone: Toy, set_up: Callable[..., None], tmp_path: Path) -> None:
    """A run-cache entry that a killed process left truncated is not pulled; the next push replaces it."""
    set_up("folder", clone.folder)
    commit(clone.folder)
    remotes.push_run_cache(Path())
    entry = next(path for path in (tmp_path / "store/runs").rglob("*") if path.is_file())
    content = entry.read_bytes()
    folder = second(clone)
    for end in (20, *(index + 1 for index in range(content.rindex(b"md5")) if content[index] == ord("\n"))):
        entry.write_bytes(content[:end])
        assert remotes.pull_run_cache(folder) <= 1  # the other one, once
    assert entry.name not in {path.name for path in (folder / ".dvc/cache/runs").rglob("*")}
    assert remotes.push_run_cache(Path()) == 1 and entry.read_bytes() == content
    assert remotes.pull_run_cache(folder) == 1


def test_entry_without_its_outputs_is_not_pushed(clone: Toy, set_up: Callable[..., None]) -> None:
    """A run-cache entry is not pushed if the local cache lacks its outputs."""
    set_up("folder", clone.folder)
    shutil.rmtree(".dvc/cache/files")
    assert remotes.push_run_cache(Path()) == 0


@pytest.mark.farm
@pytest.mark.parametrize(
    ("kind", "wrong", "sentence"),
    [
        ("ssh", {"key": "other_key"}, "Permission denied"),
        ("ssh", {"address": "port"}, "Connect call failed"),
        ("s3", {"address": "s3://no-such-bucket/store"}, "The specified bucket does not exist"),
    ],
)
def test_one_sentence(
    kind: str,
    wrong: dict[str, str],
    sentence: str,
    clone: Toy,
    set_up: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    """A wrong key, an unreachable server and a missing bucket cause one sentence and exit code 1; nothing is lost."""
    if "key" in wrong:
        wrong = {"key": str(request.getfixturevalue("sshd").other_key)}
    if wrong.get("address") == "port":
        wrong = {"address": f"ssh://127.0.0.1:{free_port()}/store"}
    set_up(kind, clone.folder, **wrong)
    before = (clone.read("dvc.lock"), clone.read("joined"))
    run = call("run", "--pull")
    assert run.returncode == 1, run.stdout
    assert sentence in run.stderr and run.stderr.count("\n") == 1, run.stderr
    for work in (remotes.push, remotes.push_run_cache, remotes.missing_in_remote):
        with pytest.raises(RemoteFailed, match=sentence):
            work(Path())
    assert before == (clone.read("dvc.lock"), clone.read("joined"))
    assert run_engine().ran == []


@pytest.mark.farm
def test_s3_without_credentials_or_server(
    clone: Toy, set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Missing credentials and an unreachable S3 server cause one sentence each."""
    set_up("s3", clone.folder)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    address = f"http://127.0.0.1:{free_port()}"
    dvc("remote", "modify", "--local", "store", "endpointurl", address)
    with pytest.raises(RemoteFailed, match=r"the DVC remote store \(s3://inkflow/.*\) cannot be used: .*connect"):
        remotes.pull_run_cache(Path())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(RemoteFailed, match="Unable to locate credentials"):
        remotes.push_run_cache(Path())


@pytest.mark.farm
def test_full_remote(clone: Toy, set_up: Callable[..., None], tmp_path: Path) -> None:
    """A full remote causes one sentence and exit code 1; when it has space, the same command succeeds."""
    clone.write({"in": "x" * 3_000_000})
    assert run_engine().error is None
    set_up("folder", clone.folder)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    run = call("run", "--push", preexec_fn=limit)
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stderr.startswith("error: the DVC remote store (") and run.stderr.count("\n") == 1, run.stderr
    assert "File too large" in run.stderr
    assert remotes.missing_in_remote(Path()) != {}
    again = call("run", "--push")
    assert again.returncode == 0, again.stderr
    assert remotes.missing_in_remote(Path()) == {}


def test_no_remote(clone: Toy) -> None:
    """Without a remote, commands that need one end with exit code 2 before a stage runs."""
    clone.write({"in": "changed\n"})
    for option in ("--pull", "--push"):
        run = call("run", option)
        assert run.returncode == 2 and "no DVC remote is configured" in run.stderr
    assert clone.runs("source") == 1
    with pytest.raises(NoRemote):
        remotes.push(Path())


@pytest.mark.farm
@pytest.mark.parametrize("as_file", [False, True], ids=["text", "file"])
def test_key_from_the_environment(as_file: bool, clone: Toy, set_up: Callable[..., None], sshd: SshServer) -> None:
    """A key that CI provides as a secret, as text or file, gives access to an SSH remote. It is written to a file that
    only the user may read and that git does not track.
    """
    set_up("ssh", clone.folder, key="/nowhere")
    use_key(clone.folder, str(sshd.key) if as_file else sshd.key.read_text().strip())
    assert remotes.push(Path()) == 4
    path = clone.folder / ".dvc/tmp/inkflow_key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" not in clone.read(".dvc/config") + clone.read(".dvc/config.local")
    status = subprocess.run(["git", "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True)
    assert "key" not in status.stdout
