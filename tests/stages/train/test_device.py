"""Where training computes, and how quietly it starts."""

import os
import subprocess
import sys
from typing import Any

import pytest

from stages.base.errors import DeviceMissing
from stages.base.machine import available_cores
from stages.train.device import Device, choose_precision, load_keras, set_up_device, without_greetings
from tests.support.learning import make_model
from tests.support.root import ROOT

THREADS = "TF_NUM_INTRAOP_THREADS"

load_keras()
tf = pytest.importorskip("tensorflow")  # loaded quietly above


def test_processor_where_there_is_no_gpu() -> None:
    """Without a GPU it is the CPU, with name and threads."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    device = set_up_device()
    assert device.kind == "cpu"
    assert device.name
    assert device.threads == available_cores() >= 1
    assert str(device) == f"cpu ({device.name}, {device.threads} threads)"
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_first_gpu_alone_with_growing_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two GPUs that TensorFlow lists, the first is used, grows its memory and alone is visible."""
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU") for number in range(2)]
    calls: list[tuple[Any, ...]] = []
    say = {"device_name": "Some GPU"}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *given: calls.append(("visible", *given)))
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "enable_op_determinism", lambda: calls.append(("determinism",)))
    monkeypatch.setattr(experimental, "set_memory_growth", lambda *given: calls.append(("growth", *given)))
    monkeypatch.setattr(experimental, "get_device_details", lambda gpu: say if gpu is gpus[0] else {})
    device = set_up_device()
    assert (device.kind, device.name) == ("gpu", "Some GPU")
    assert calls == [("growth", gpus[0], True), ("visible", gpus[0], "GPU"), ("determinism",)]


@pytest.mark.slow
def test_keras_loads_quietly_and_without_scikit_learn() -> None:
    """Loading Keras prints nothing and leaves out scikit-learn, which stays importable.

    The number of threads is the model's matter alone, as it is recorded: the environment's word is taken away.
    """
    program = (
        "import sys, os; from stages.train.device import load_keras; load_keras(); "
        "assert 'keras' in sys.modules and 'sklearn' not in sys.modules; import sklearn; "
        f"assert '{THREADS}' not in os.environ"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | {THREADS: "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_greetings_are_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    """What else C++ says on standard error still comes through, even after a failure."""
    with pytest.raises(RuntimeError), without_greetings():
        os.write(2, b"I0000 00:00 port.cc:153] oneDNN is on\nW0000 a library is missing\n")
        raise RuntimeError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "W0000 a library is missing\nafterwards\n"


def test_loading_again_changes_nothing() -> None:
    """Where Keras is loaded already, loading it is free of effects."""
    before = set(sys.modules)
    load_keras()
    assert set(sys.modules) == before


def test_gpu_that_is_not_there_is_refused() -> None:
    """`device: gpu` without a visible GPU fails at once and says what is likely to be missing."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceMissing, match=r"no GPU can be used: .*(driver|CUDA|cuDNN|lib)"):
        set_up_device("gpu")


@pytest.mark.parametrize(
    ("network", "wanted", "native", "expected"),
    [
        ("cnn", "auto", True, "bfloat16"),
        ("cnn", "auto", False, "float32"),
        ("dense", "auto", True, "float32"),
        ("dense", "mixed", False, "bfloat16"),
        ("cnn", "float32", True, "float32"),
    ],
)
def test_precision_is_chosen(network: str, wanted: str, native: bool, expected: str) -> None:
    """What is asked for is taken; `auto` is bfloat16 for convolutions where the device has it natively."""
    device = Device("cpu", "some", 2, native)
    assert choose_precision(make_model(network, precision=wanted), device) == expected
