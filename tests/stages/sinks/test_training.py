"""A training with sinks: the same outputs, byte for byte, whether they work or are away."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from stages.train.training import main
from tests.support.learning import settings, write_data, write_params
from tests.support.loopback import free_port
from tests.support.tiny_data import snapshot

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="TensorBoard is missing: pip install 'inkflow[tensorboard]'"
)
@pytest.mark.farm
def test_sinks_change_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With TensorBoard and a server that is away the files are those without sinks; one line says what is away."""
    data, params = write_data(tmp_path / "data").prepared, write_params(tmp_path / "params.yaml", seen=settings())
    paths = {"--data": data, "--params": params, "--checkpoints": tmp_path / "saved"}
    arguments = ["--model", "seen", *(str(part) for option in paths.items() for part in option)]
    monkeypatch.delenv("INKFLOW_SINKS", raising=False)
    assert main([*arguments, "--out", str(tmp_path / "plain")]) == 0
    capfd.readouterr()
    monkeypatch.setenv("INKFLOW_SINKS", "mlflow,tensorboard")
    monkeypatch.setenv("INKFLOW_SINKS_WAIT_S", "10000")
    monkeypatch.setenv("INKFLOW_TENSORBOARD", str(tmp_path / "board"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert main([*arguments, "--out", str(tmp_path / "sent")]) == 0
    assert snapshot(tmp_path / "sent") == snapshot(tmp_path / "plain")
    (warning,) = capfd.readouterr().err.splitlines()
    assert warning.startswith("warning: mlflow: http://127.0.0.1:")
    assert {path.parent.name for path in (tmp_path / "board" / "seen").rglob("events*")} == {"train", "validation"}
