"""Sinks that are away, hang, refuse or do not exist: the stage goes on, and one sentence says why."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from stages.base import sinks as sinks_module
from stages.base.errors import InvalidInput
from stages.base.sinks import running_sinks
from stages.sinks.follow import MAX_REASON, NICE, reason
from stages.sinks.mlflow_sink import _source_tags
from tests.conftest import wait_until
from tests.support.http_server import Server, status
from tests.support.loopback import free_port
from tests.support.root import ROOT

COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
ROWS = [(1, 1.0, 0.5, 2.0, 0.25), (2, 0.5, 0.5, 1.0, 0.5)]
LONG_S = "10000"  # longer than the time limit of a test
needs_mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None, reason="MLflow is missing: pip install 'inkflow[mlflow]'"
)
needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="TensorBoard is missing: pip install 'inkflow[tensorboard]'"
)


def sent(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], **environment: str) -> str:
    """Sends a training of two epochs and no file, and returns what standard error got."""
    for name, value in {"INKFLOW_SINKS_WAIT_S": LONG_S, **environment}.items():
        monkeypatch.setenv(name, value)
    with running_sinks() as sinks:
        sinks.send(name="dense", key="k" * 64, parameters={"units": [3], "shuffle": True}, columns=COLUMNS)
        sinks.send_rows(ROWS[:1])
        sinks.send_rows(ROWS)
        sinks.close("FINISHED")
    return capfd.readouterr().err


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which connections are made and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_without_the_variable_there_is_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without INKFLOW_SINKS nothing is started."""
    monkeypatch.delenv("INKFLOW_SINKS", raising=False)
    before = psutil.Process().children()
    with running_sinks() as sinks:
        sinks.send_rows(ROWS)
        assert psutil.Process().children() == before
        sinks.close("FINISHED")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"INKFLOW_SINKS": "mlfow"}, "INKFLOW_SINKS names 'mlfow', expected mlflow or tensorboard"),
        ({"INKFLOW_SINKS": "mlflow", "INKFLOW_SINKS_WAIT_S": "soon"}, "INKFLOW_SINKS_WAIT_S is 'soon', expected a num"),
        ({"INKFLOW_SINKS": "mlflow", "INKFLOW_SINKS_WAIT_S": "nan"}, "INKFLOW_SINKS_WAIT_S is 'nan', expected a num"),
    ],
)
def test_wrong_settings_are_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A sink of another name and a wait that is no number are refused before the training."""
    with pytest.raises(InvalidInput, match=message):
        sent(monkeypatch, capfd, **environment)


def test_server_that_is_away(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing waits for a server that is away, however long the stage would wait; the password is not shown."""
    address = f"http://me:opensesame@127.0.0.1:{free_port()}"
    error = sent(monkeypatch, capfd, INKFLOW_SINKS="mlflow", MLFLOW_TRACKING_URI=address)
    assert error.startswith("warning: mlflow: http://127.0.0.1:")
    assert error.endswith(" cannot be reached ([Errno 111] Connection refused); the stage goes on without it\n")
    assert error.count("\n") == 1


def test_server_without_address(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Without an address MLflow would write a database into the project: the warning names the variable."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    error = sent(monkeypatch, capfd, INKFLOW_SINKS="mlflow")
    assert error.startswith("warning: mlflow: MLFLOW_TRACKING_URI is not set; ")


@needs_mlflow
def test_server_that_does_not_answer(
    silent_port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stage's end does not wait longer than INKFLOW_SINKS_WAIT_S for a server that is silent."""
    monkeypatch.setattr(sinks_module, "END_S", 240.0)  # the process has the time to say so
    address = f"http://127.0.0.1:{silent_port}"
    error = sent(
        monkeypatch, capfd, INKFLOW_SINKS="mlflow", MLFLOW_TRACKING_URI=address, INKFLOW_SINKS_WAIT_S="0.5",
        MLFLOW_HTTP_REQUEST_TIMEOUT=LONG_S,
    )  # fmt: skip
    assert error == "warning: mlflow: no answer for 0.5 s (INKFLOW_SINKS_WAIT_S); the stage goes on without it\n"


@pytest.mark.farm
@needs_mlflow
def test_server_that_refuses(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that answers with an error, as one with a full disk, gives one warning."""
    with Server().running() as server:
        server.respond_with(status(507))
        settings = {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        error = sent(monkeypatch, capfd, INKFLOW_SINKS="mlflow", **settings)
    assert error.startswith("warning: mlflow: ") and "507" in error
    assert error.count("\n") == 1


@needs_tensorboard
def test_event_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The event files have each epoch under Keras's names; the same training again replaces them."""
    for _ in range(2):
        assert sent(monkeypatch, capfd, INKFLOW_SINKS="tensorboard", INKFLOW_TENSORBOARD=str(tmp_path)) == ""
    code = """if True:
        import json, sys, types
        sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        for folder in sys.argv[1:]:
            events = EventAccumulator(folder).Reload()
            tags = events.Tags()["scalars"]
            print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}))
    """
    folders = [tmp_path / "dense" / "kkkkkkkk" / part for part in ("train", "validation")]
    command = [sys.executable, "-c", code, *map(str, folders)]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    for line, folder, column in zip(lines, folders, (1, 3), strict=True):
        assert json.loads(line) == {
            "epoch_loss": [[row[0], row[column]] for row in ROWS],
            "epoch_accuracy": [[row[0], row[column + 1]] for row in ROWS],
        }
        assert len(list(folder.iterdir())) == 1


@pytest.mark.farm
@needs_tensorboard
def test_folder_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file in place of the folder gives one warning."""
    (tmp_path / "file").touch()
    error = sent(monkeypatch, capfd, INKFLOW_SINKS="tensorboard", INKFLOW_TENSORBOARD=str(tmp_path / "file"))
    assert error.startswith("warning: tensorboard: [Errno 20] Not a directory: ")
    assert error.count("\n") == 1


def test_killed_stage_ends_the_process(tmp_path: Path) -> None:
    """A process of sinks has a lower priority; if its stage was killed, it ends by itself, though its sink hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "stages.sinks", "mlflow", "--wait", LONG_S]
        environment = os.environ | {"MLFLOW_TRACKING_URI": address}
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, env=environment) as process:
            assert process.stdin
            process.stdin.write(json.dumps({"name": "dense", "columns": COLUMNS}).encode() + b"\n")
            nice = min(19, psutil.Process().nice() + NICE)
            wait_until(lambda: psutil.Process(process.pid).nice() == nice, 240)
            process.stdin.close()
            assert process.wait(240) == 0


def test_a_long_reason_is_cut_between_words() -> None:
    """No part of a secret is left at the end of a long reason, since the engine replaces whole secrets."""
    assert reason(ValueError(f"{'x' * (MAX_REASON - 5)} planted-secret\nmore")) == f"{'x' * (MAX_REASON - 5)} ..."
    assert reason(ValueError(f"https://me:{'hunter22' * 50}@h/x is away")) == "https://me:***@h/x is away"
    assert reason(ValueError()) == "ValueError"


@pytest.mark.parametrize("folder", [".", "below"])
@pytest.mark.parametrize(
    ("file", "dirty"),
    [("custom/new.py", "true"), ("stages/edited.py", "true"), ("params.yaml", "true"), ("notes.txt", "false")],
)
def test_a_training_of_changed_code_or_parameters_is_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, file: str, dirty: str
) -> None:
    """Changed and new files of the project's code count, in a folder of the repository too; other files do not."""
    project = tmp_path / folder
    for name in ("stages/edited.py", "custom/kept.py"):
        (project / name).parent.mkdir(parents=True)
        (project / name).touch()
    person = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], ["add", "-A"], [*person, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.chdir(project)
    assert _source_tags()["mlflow.source.git.dirty"] == "false"
    (project / file).write_text("changed = True\n")
    assert _source_tags()["mlflow.source.git.dirty"] == dirty
