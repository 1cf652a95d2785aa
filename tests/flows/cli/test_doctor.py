"""`inkflow doctor`: says what is missing and how to mend it, and is silent about what is not."""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.cli import doctor
from flows.cli.main import main
from flows.engine import resources
from tests.conftest import Project
from tests.support.http_server import Server, serve, status


@pytest.fixture
def healthy(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    """A project on a machine that lacks nothing; no server is named."""
    for name in ("PREFECT_API_URL", "INKFLOW_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return project


def examine(capsys: pytest.CaptureFixture[str]) -> tuple[int, Mapping[str, Mapping[str, str]]]:
    """Exit code, and findings by name."""
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return code, {finding["check"]: finding for finding in found}


def test_a_healthy_machine(healthy: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to mend: code 0; a remote that nobody set up is a note, not a fault."""
    code, found = examine(capsys)
    assert {name: finding["state"] for name, finding in found.items() if name != "GPU"} == {
        "Python": "fine", "packages": "fine", "Prefect server": "fine", "DVC remote": "note",
        "data set": "fine", "disk": "fine",
    }  # fmt: skip
    assert code == (found["GPU"]["state"] == "wrong")
    assert main(["doctor"]) == code
    printed = capsys.readouterr().out
    assert "= Python" in printed
    assert "mend: dvc remote add --default NAME URL" in printed


def test_packages_other_than_locked(healthy: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Each package that is another version, or missing, is named; those for other systems do not count."""
    here = importlib.metadata.version("prefect")
    healthy.write({
        "requirements.lock": f"prefect=={here} \\\n    --hash=sha256:0\nhttpx==0.0.1 \\\n    # via x\n"
        "no-such-thing==1.0 ; python_full_version >= '3.8'\npywin32==1 ; sys_platform == 'win32'\n"
    })  # fmt: skip
    code, found = examine(capsys)
    assert code == 1
    assert found["packages"]["says"].startswith("httpx ")
    assert found["packages"]["says"].endswith("instead of 0.0.1, no-such-thing none instead of 1.0")
    assert found["packages"]["mend"] == "make setup"


def test_a_server_that_does_not_answer(
    healthy: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is named and silent is a fault; the password in its address is not told."""
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hunter2@127.0.0.1:9/api")
    code, found = examine(capsys)
    assert code == 1
    assert found["Prefect server"]["says"] == "http://me:***@127.0.0.1:9/api does not answer"
    assert "inkflow up" in found["Prefect server"]["mend"]


def test_remotes(healthy: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A remote that can be reached is fine, also an empty one; one that cannot is a fault."""
    config = "[core]\n    remote = store\n['remote \"store\"']\n    url = {}\n"
    healthy.write({".dvc/config": config.format(tmp_path / "store")})
    code, found = examine(capsys)
    assert (code, found["DVC remote"]["says"]) == (0, "store can be reached")
    (tmp_path / "file").write_text("")
    healthy.write({".dvc/config": "[core"})
    code, found = examine(capsys)
    assert (code, found["DVC remote"]["state"]) == (1, "wrong")
    assert found["DVC remote"]["says"].startswith("DVC's configuration cannot be read: ")
    healthy.write({".dvc/config": config.format(tmp_path / "file" / "store")})
    code, found = examine(capsys)
    assert code == 1
    assert found["DVC remote"]["says"].startswith("store cannot be reached (")


def test_the_data_set(
    healthy: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The data set is here, at a mirror, at its address or in Keras's cache; else a fault that says what to do."""
    with Server().running() as server:
        server.told(status(404))
        healthy.set({"dataset": "mnist", "datasets.mnist.url": f"{server.url}/mnist.npz"})
        assert doctor.dataset(Path()).state == "wrong"
        assert "INKFLOW_MIRROR=" in doctor.dataset(Path()).mend
        server.told(serve(b"x"))
        assert doctor.dataset(Path()).says == f"mnist is not here yet; {server.url}/mnist.npz has it"
    assert doctor.dataset(Path()).state == "wrong"
    cached = tmp_path / "keras" / "datasets" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    assert doctor.dataset(Path()).says.endswith("Keras's cache has it")
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path / "keras" / "datasets"))
    assert doctor.dataset(Path()).says == f"mnist is not here yet; {cached} has it"
    healthy.write({"data/raw/dataset.json": '{"name": "mnist"}', "data/raw/dataset.npz": ""})
    assert doctor.dataset(Path()).says == "mnist is in data/raw"
    assert examine(capsys)[1]["data set"]["state"] == "fine"


def test_bad_parameters_are_told(healthy: Project) -> None:
    """A mistake in params.yaml is the data set's finding, in its own words."""
    healthy.set({"dataset": "mnits"})
    found = doctor.dataset(Path())
    assert found.state == "wrong"
    assert "mnits" in found.says


@pytest.mark.skipif(not resources.gpus(), reason="this machine has no GPU")
def test_a_gpu_is_seen(healthy: Project) -> None:
    """Where there is a GPU, TensorFlow sees it, or the command that mends that is told."""
    found = doctor.gpu(Path())
    assert found.state == "fine" or "[gpu]" in found.mend


def test_a_full_disk(healthy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less room than a run may need is a fault, and `inkflow prune` is named."""
    monkeypatch.setattr(doctor, "FREE_BYTES", 10**18)
    found = doctor.disk(Path())
    assert found.state == "wrong"
    assert "inkflow prune" in found.mend
