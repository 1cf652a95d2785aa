"""history.csv while the model trains: whole at any moment, and never beside a model of another training."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.base.errors import exit_with
from stages.train.live_history import live_history
from stages.train.progress import Epoch, columns
from stages.train.training import main
from tests.support.learning import Folders, settings, write_params
from tests.support.root import ROOT
from tests.support.tiny_data import snapshot

EPOCHS = [Epoch(number, 1 / number, 0.5, 2 / number, 0.25) for number in (1, 2, 3)]
# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
OUTPUTS = ("model.onnx", "history.csv")
WAIT_S = 120


def arguments(folders: Folders, folder: Path) -> list[str]:
    """Returns the arguments of a training of 30 epochs, with outputs and checkpoints in `folder`."""
    params = write_params(folder / "params.yaml", live=settings(epochs=30))
    paths = {"--data": folders.prepared, "--out": folder / "out", "--checkpoints": folder / "saved", "--params": params}
    return ["--model", "live", *(str(part) for option in paths.items() for part in option)]


def first_rows(path: Path, process: subprocess.Popen[bytes]) -> str:
    """Waits for the file, and returns its first content."""
    deadline = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists():
            return path.read_text()
        time.sleep(0.001)
    raise AssertionError(f"no {path.name} before the end of the training")


@pytest.mark.farm
def test_history_grows_and_outlives_a_kill(folders: Folders, tmp_path: Path) -> None:
    """A killed training leaves its epochs without a model; the next one goes on from them, whole lines at any time."""
    command, path = [sys.executable, "-m", "stages.train", *arguments(folders, tmp_path)], tmp_path / "out/history.csv"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        first_rows(path, process)
        process.send_signal(signal.SIGKILL)
    killed = path.read_text()
    assert {entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")} == {"history.csv"}
    path.unlink()  # as DVC does before it runs the stage again
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        contents = [first_rows(path, process)]
        while process.poll() is None:
            contents.append(path.read_text())
            time.sleep(0.001)
    final = path.read_text()
    assert process.returncode == 0
    assert len(final.splitlines()) == 31
    assert final.startswith(killed) and all(final.startswith(content) for content in contents)
    assert all(content.endswith("\n") for content in [killed, *contents])
    assert min(map(len, contents)) < len(final)
    assert contents[0].count("\n") >= killed.count("\n") - 1  # the checkpoint may lack the epoch of the kill


def test_earlier_outputs_stay_together(tmp_path: Path) -> None:
    """Beside the model of an earlier training its history stays, whether the training ends or fails."""
    for name in OUTPUTS:
        (tmp_path / name).write_text("earlier")
    with live_history(tmp_path, columns("accuracy")) as update:
        update(EPOCHS)
    with pytest.raises(KeyboardInterrupt), live_history(tmp_path, columns("accuracy")) as update:
        update(EPOCHS)
        raise KeyboardInterrupt
    assert snapshot(tmp_path) == dict.fromkeys(OUTPUTS, b"earlier")


def test_failed_training_leaves_no_history(tmp_path: Path) -> None:
    """The history of a training that fails or is interrupted is removed; no history is written before an epoch."""
    with pytest.raises(KeyboardInterrupt), live_history(tmp_path, columns("accuracy")) as update:
        update([])
        assert not list(tmp_path.iterdir())
        update(EPOCHS[:1])
        lines = (tmp_path / "history.csv").read_text().splitlines()
        assert lines == ["epoch,loss,accuracy,val_loss,val_accuracy", "1,1.0,0.5,2.0,0.25"]
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.farm
def test_unwritable_history_is_said_once_and_fails_at_the_end(
    folders: Folders, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A history that cannot be written does not stop the training, which says so once; its end fails as ever."""
    blocked = tmp_path / "out/history.csv"
    blocked.mkdir(parents=True)
    (blocked / "mine").touch()
    code = exit_with(lambda: main(arguments(folders, tmp_path)))
    warning, error = capfd.readouterr().err.splitlines()
    assert code == 1
    assert warning.startswith(f"warning: the live history is not shown (cannot write {blocked}: Is a directory; ")
    assert error.startswith(f"error: cannot write {blocked}: Is a directory; ")
    assert (blocked / "mine").exists()
