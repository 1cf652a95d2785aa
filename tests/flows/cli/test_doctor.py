"""`inkflow doctor`: reports each problem with its fix, and reports none on a healthy machine."""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError
from fsspec import filesystem

from flows.cli import doctor
from flows.cli.main import main
from flows.dvc_repo.remote import check
from flows.engine import resources
from tests.conftest import Project
from tests.support.http_server import Server, serve, status


@pytest.fixture
def healthy(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    """A project on a machine without problems; no server is configured."""
    for name in ("PREFECT_API_URL", "INKFLOW_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for limit in ("REMOTE_S", "DATA_S"):
        monkeypatch.setattr(doctor, limit, 240.0)
    return project


def examine(capsys: pytest.CaptureFixture[str]) -> tuple[int, Mapping[str, Mapping[str, str]]]:
    """Runs `inkflow doctor --json`; returns the exit code, and the findings by the name of the check."""
    code = main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return code, {finding["check"]: finding for finding in findings}


def test_a_healthy_machine(healthy: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without problems gives exit code 0; a missing DVC remote is a note, not a problem."""
    code, findings = examine(capsys)
    assert {name: finding["state"] for name, finding in findings.items() if name != "GPU"} == {
        "Python": "fine", "packages": "fine", "Prefect server": "fine", "DVC remote": "note",
        "data set": "fine", "disk": "fine",
    }  # fmt: skip
    assert code == (findings["GPU"]["state"] == "wrong")
    assert main(["doctor"]) == code
    printed = capsys.readouterr().out
    assert "= Python" in printed
    assert "fix: dvc remote add --default NAME URL" in printed


def test_packages_other_than_locked(healthy: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Each package with another version, and each missing one, is named; packages for other systems do not count."""
    installed = importlib.metadata.version("prefect")
    healthy.write({
        "requirements.lock": f"prefect=={installed} \\\n    --hash=sha256:0\nhttpx==0.0.1 \\\n    # via x\n"
        "no-such-thing==1.0 ; python_full_version >= '3.8'\npywin32==1 ; sys_platform == 'win32'\n"
    })  # fmt: skip
    code, findings = examine(capsys)
    assert code == 1
    assert findings["packages"]["says"].startswith("httpx ")
    assert findings["packages"]["says"].endswith("instead of 0.0.1, no-such-thing none instead of 1.0")
    assert findings["packages"]["mend"] == "make setup"


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_lock_file_that_cannot_be_read(
    healthy: Project, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """A lock file in another encoding, and a folder of its name, are problems with a fix."""
    Path("requirements.lock").unlink(missing_ok=True)
    if content is None:
        Path("requirements.lock").mkdir()
    else:
        Path("requirements.lock").write_bytes(content)
    code, findings = examine(capsys)
    assert (code, findings["packages"]["state"]) == (1, "wrong")
    assert findings["packages"]["says"].startswith("requirements.lock cannot be read (")
    assert findings["packages"]["mend"] == "git checkout requirements.lock"


def test_an_adopted_project(healthy: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """In a project with another schema, its lock file and the library that uses the GPU are not ours to judge."""
    Path("params.schema.json").unlink()
    healthy.write({"requirements.lock": "no-such-thing==1.0\n"})
    code, findings = examine(capsys)
    assert code == 0
    assert all(findings[name]["says"].startswith("not checked") for name in ("packages", "GPU", "data set"))


def test_a_server_that_does_not_answer(
    healthy: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configured server that does not answer is a problem; the finding hides the password in its URL."""
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hunter2@127.0.0.1:9/api")
    code, findings = examine(capsys)
    assert code == 1
    assert findings["Prefect server"]["says"] == "http://me:***@127.0.0.1:9/api does not answer"
    assert "inkflow up" in findings["Prefect server"]["mend"]


@pytest.mark.farm
def test_remotes(healthy: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A remote that can be reached is fine, even if empty; one that cannot be reached or configured is a problem."""
    config = "[core]\n    remote = store\n['remote \"store\"']\n    url = {}\n"
    healthy.write({".dvc/config": config.format(tmp_path / "store")})
    code, findings = examine(capsys)
    assert (code, findings["DVC remote"]["says"]) == (0, "store can be reached")
    (tmp_path / "file").write_text("")
    healthy.write({".dvc/config": "[core"})
    code, findings = examine(capsys)
    assert (code, findings["DVC remote"]["state"]) == (1, "wrong")
    assert findings["DVC remote"]["says"].startswith("DVC's configuration cannot be read: ")
    healthy.write({".dvc/config": config.format(tmp_path / "file" / "store")})
    code, findings = examine(capsys)
    assert code == 1
    assert findings["DVC remote"]["says"].startswith("store cannot be reached (")


def test_a_remote_that_does_not_answer() -> None:
    """For HTTP, a folder that is not there is no problem, a server that is not there is one."""
    http = filesystem("http", skip_instance_cache=True)
    with Server().running() as server:
        server.respond_with(status(404))
        check.look(http, f"{server.url}/files/md5")
        server.respond_with(lambda request: setattr(request, "close_connection", True))  # without an answer
        with pytest.raises(ClientConnectionError):
            check.look(http, f"{server.url}/files/md5")
    with pytest.raises(OSError, match="Cannot connect"):
        check.look(http, f"{server.url}/files/md5")


def test_the_data_set(
    healthy: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The data set is downloaded, or a mirror, its URL or Keras's cache has it; else it is a problem with a fix."""
    with Server().running() as server:
        server.respond_with(status(404))
        healthy.set({"dataset": "mnist", "datasets.mnist.url": f"{server.url}/mnist.npz"})
        assert doctor.dataset(Path()).state == "wrong"
        assert "INKFLOW_MIRROR=/folder inkflow run, with a folder that has mnist.npz" in doctor.dataset(Path()).fix
        server.respond_with(serve(b"x"))
        assert doctor.dataset(Path()).message == f"mnist is not here yet; {server.url}/mnist.npz has it"
    assert doctor.dataset(Path()).state == "wrong"
    cached = tmp_path / "keras" / "datasets" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    assert doctor.dataset(Path()).message.endswith("Keras's cache has it")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/keras")
    assert doctor.dataset(Path()).message.endswith("Keras's cache has it")
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path / "keras" / "datasets"))
    assert doctor.dataset(Path()).message == f"mnist is not here yet; {cached} has it"
    healthy.write({"data/raw/dataset.json": '{"name": "mnist"}', "data/raw/dataset.npz": ""})
    assert doctor.dataset(Path()).message == "mnist is in data/raw"
    assert examine(capsys)[1]["data set"]["state"] == "fine"
    for damaged in ("[1]", "null", "[" * 100_000):
        healthy.write({"data/raw/dataset.json": damaged})
        assert doctor.dataset(Path()).message == f"mnist is not here yet; {cached} has it"


def test_invalid_parameters(healthy: Project) -> None:
    """A mistake in params.yaml is a problem of the data set, with the message of the mistake."""
    healthy.set({"dataset": "mnits"})
    finding = doctor.dataset(Path())
    assert finding.state == "wrong"
    assert "mnits" in finding.message


@pytest.mark.skipif(not resources.gpus(), reason="this machine has no GPU")
def test_a_gpu_is_seen(healthy: Project) -> None:
    """TensorFlow sees the GPU of this machine, or the finding names the command that fixes it."""
    finding = doctor.gpu(Path())
    assert finding.state == "fine" or "[gpu]" in finding.fix


def test_a_full_disk(healthy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less free space than a run may need is a problem, and the fix is `inkflow prune`."""
    monkeypatch.setattr(doctor, "FREE_BYTES", 10**18)
    finding = doctor.disk(Path())
    assert finding.state == "wrong"
    assert "inkflow prune" in finding.fix
