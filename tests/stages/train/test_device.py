"""The device of a training, and its standard error without start-up messages."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from stages.base.errors import DeviceMissing
from stages.base.machine import available_cores
from stages.train import device as device_module
from stages.train.device import (
    Device,
    choose_precision,
    has_nvidia_driver,
    load_keras,
    set_up_device,
    without_cuda_messages,
    without_startup_messages,
)
from tests.support.learning import make_model
from tests.support.root import ROOT

THREADS = "TF_NUM_INTRAOP_THREADS"
CUDA_MESSAGES = [
    b"E0000 00:00:1795837172.946946   30844 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error\n",
    b"2026-09-27 03:38:50.123456: E external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:152] failed call to "
    b"cuInit: UNKNOWN ERROR (303)\n",
    b"W0927 03:38:50.123456   30844 cudart_stub.cc:31] Could not find cuda drivers on your machine\n",
]

load_keras()
tf = pytest.importorskip("tensorflow")  # loaded quietly above


def test_cpu_without_a_gpu() -> None:
    """Without a GPU the device is the CPU, with its name and number of threads."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    device = set_up_device()
    assert device.kind == "cpu"
    assert device.name
    assert device.threads == available_cores() >= 1
    assert str(device) == f"cpu ({device.name}, {device.threads} threads)"
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_first_gpu_alone_with_growing_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two GPUs that TensorFlow lists, only the first is visible, and its memory grows."""
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU") for number in range(2)]
    calls: list[tuple[Any, ...]] = []
    details = {"device_name": "Some GPU"}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *arguments: calls.append(("visible", *arguments)))
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "enable_op_determinism", lambda: calls.append(("determinism",)))
    monkeypatch.setattr(experimental, "set_memory_growth", lambda *arguments: calls.append(("growth", *arguments)))
    monkeypatch.setattr(experimental, "get_device_details", lambda gpu: details if gpu is gpus[0] else {})
    device = set_up_device()
    assert (device.kind, device.name) == ("gpu", "Some GPU")
    assert calls == [("growth", gpus[0], True), ("visible", gpus[0], "GPU"), ("determinism",)]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.farm
def test_keras_loads_quietly_and_without_scikit_learn(device: str) -> None:
    """Loading Keras prints nothing and does not import scikit-learn, which stays importable.

    Without a GPU its device is set up quietly too, even if TensorFlow logs warnings and errors. The environment
    variable for the number of threads is removed: the model, whose number is recorded, decides alone.
    """
    program = (
        "import sys, os; from stages.train.device import has_nvidia_driver, load_keras, set_up_device; load_keras(); "
        "assert 'keras' in sys.modules and 'sklearn' not in sys.modules; import sklearn; "
        f"assert '{THREADS}' not in os.environ; has_nvidia_driver() or set_up_device('{device}')"
    )
    environment = os.environ | {THREADS: "1"} | ({} if has_nvidia_driver() else {"TF_CPP_MIN_LOG_LEVEL": "1"})
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_only_startup_messages_are_removed(capfd: pytest.CaptureFixture[str]) -> None:
    """Other messages of C++ appear on standard error, even after an exception."""
    with pytest.raises(RuntimeError), without_startup_messages():
        os.write(2, b"I0000 00:00 port.cc:153] oneDNN is on\nW0000 a library is missing\n")
        raise RuntimeError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "W0000 a library is missing\nafterwards\n"


@pytest.fixture(params=[True, False], ids=["GPU", "no GPU"])
def nvidia_driver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the machine has an NVIDIA GPU."""
    driver = tmp_path / "driver"
    if request.param:
        driver.touch()
    monkeypatch.setattr(device_module, "NVIDIA_DRIVER", (str(driver),))
    return bool(request.param)


@pytest.mark.parametrize("removes", [without_startup_messages, without_cuda_messages])
def test_cuda_messages_are_removed_only_without_a_gpu(
    nvidia_driver: bool, removes: Callable[[], AbstractContextManager[None]], capfd: pytest.CaptureFixture[str]
) -> None:
    """CUDA's messages about a missing GPU are removed where there is none; faults of a real GPU stay visible."""
    fatal = b"F0000 00:00:1795837172.946946   30844 cuda_driver.cc:52] out of memory\n"
    with removes():
        os.write(2, b"".join([*CUDA_MESSAGES, fatal]))
    expected = b"".join([*CUDA_MESSAGES, fatal] if nvidia_driver else [fatal])
    assert capfd.readouterr().err == expected.decode()


def test_messages_of_a_real_gpu_are_not_delayed(nvidia_driver: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Where there is a GPU, its messages appear at once, so that a crash does not lose them."""
    with without_cuda_messages():
        os.write(2, CUDA_MESSAGES[0])
        during = capfd.readouterr().err
    assert during == (CUDA_MESSAGES[0].decode() if nvidia_driver else "")


def test_loading_again_changes_nothing() -> None:
    """Where Keras is loaded already, loading it has no effect."""
    before = set(sys.modules)
    load_keras()
    assert set(sys.modules) == before


def test_missing_gpu_is_refused() -> None:
    """`device: gpu` without a visible GPU fails at once, with the component that is missing."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceMissing, match=r"no GPU can be used: .*(driver|CUDA|cuDNN|lib)"):
        set_up_device("gpu")


@pytest.mark.parametrize(
    ("network", "precision", "native", "expected"),
    [
        ("cnn", "auto", True, "bfloat16"),
        ("cnn", "auto", False, "float32"),
        ("dense", "auto", True, "float32"),
        ("dense", "mixed", False, "bfloat16"),
        ("cnn", "float32", True, "float32"),
    ],
)
def test_precision_is_chosen(network: str, precision: str, native: bool, expected: str) -> None:
    """An explicit precision is used; `auto` is bfloat16 for convolutions where the device supports it natively."""
    device = Device("cpu", "some", 2, native)
    assert choose_precision(make_model(network, precision=precision), device) == expected
