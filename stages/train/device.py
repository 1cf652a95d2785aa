"""Keras and its backend without their start-up messages, the device that they compute on, and the precision."""

import gc
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.base.errors import DeviceMissing
from stages.base.machine import available_cores, processor_features, processor_name
from stages.model.config import Model
from stages.train.backends.backend import load_backend
from stages.train.machine_settings import fixed_settings

# Lines that TensorFlow's C++ prints when it is loaded, before any log level applies.
STARTUP_MESSAGES = (
    b"INFO: ",  # LiteRT's delegates
    b"WARNING: All log messages before absl",
    b"I0000",
)
# Messages of CUDA, except fatal ones, in both of TensorFlow's log formats. Without a GPU there is for example:
# E0000 00:00:1795837172.946946 30844 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error ...
CUDA_MESSAGE = re.compile(rb"(?:[IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] ).*\bcuda\w*\.cc:\d+\] ")
# One of these paths exists where there is an NVIDIA GPU: on Linux, in a container, in WSL 2, on Jetson.
NVIDIA_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/nvmap")
# Packages that Keras and TensorFlow import where they are installed, 4 s together, for features unused here.
UNUSED = ("sklearn", "pandas", "matplotlib")
UNUSED_BY_TENSORFLOW = ("jax", "scipy")
NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # Linux's names of the features of x86 and Arm processors

DeviceChoice = Literal["auto", "cpu", "gpu"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Device:
    """A device that computes; equal devices with equally many threads give equal bits."""

    kind: Literal["cpu", "gpu"]
    name: str
    threads: int
    bfloat16: bool = False  # supported natively

    def __str__(self) -> str:
        """Returns the device as the log shows it."""
        return f"{self.kind} ({self.name}, {self.threads} threads)"


def load_keras() -> None:
    """Imports Keras and its backend without start-up messages; this takes seconds, so validate all input before.

    Settings of the machine that would change a training have no effect: see `stages.train.machine_settings`.

    Raises:
        InvalidInput: `KERAS_BACKEND` names a backend that is not supported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # relevant errors are raised as exceptions
    with fixed_settings(), without_startup_messages(), _gc_disabled():
        tensorflow = os.environ["KERAS_BACKEND"] == "tensorflow"
        unused = UNUSED + (UNUSED_BY_TENSORFLOW if tensorflow else ())
        with _blocked_imports(unused):
            import keras  # noqa: F401  (loading it is the purpose)


def set_up_device(choice: DeviceChoice = "auto", threads: int | None = None) -> Device:
    """Selects the first GPU, with memory growth, or the CPU with `threads` threads (all processors if None).

    Call it before Keras computes anything. Equal trainings then give equal bits on either device.

    Raises:
        DeviceMissing: `choice` is gpu, and the backend finds none.
    """
    backend = load_backend()
    with without_cuda_messages():
        backend.configure(threads)
        gpu = None if choice == "cpu" else backend.first_gpu()
        if choice == "gpu" and gpu is None:
            raise DeviceMissing(backend.explain_missing_gpu())
        count = threads or available_cores()
        if gpu is None:
            backend.use_cpu()
            return Device("cpu", processor_name(), count, not NATIVE_BFLOAT16.isdisjoint(processor_features()))
        backend.use_gpu()
        return Device("gpu", gpu.name, count, gpu.bfloat16)


def choose_precision(model: Model, device: Device) -> Precision:
    """Returns the precision of the layers of `model` on `device`.

    `auto` is bfloat16 only for convolutions: products of small matrices take the same time in both.
    """
    if model.precision in ("bfloat16", "mixed"):
        return "bfloat16"
    convolutional = model.network in ("cnn", "conv1d")
    return "bfloat16" if model.precision == "auto" and convolutional and device.bfloat16 else "float32"


@contextmanager
def _gc_disabled() -> Iterator[None]:
    """Disables garbage collection within the block: an import makes many objects that all stay; saves 1 s."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _blocked_imports(modules: Sequence[str]) -> Iterator[None]:
    """Makes the import of `modules` fail within the block, except of those already imported."""
    blocked = [module for module in modules if module not in sys.modules]
    sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]  # None blocks an import, as Python documents
    try:
        yield
    finally:
        for module in blocked:
            del sys.modules[module]


@contextmanager
def without_startup_messages() -> Iterator[None]:
    """Removes start-up messages from standard error, also those of C++; writes the other lines when the block ends."""
    ignore_cuda = not has_nvidia_driver()
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            lines = (line for line in captured if not line.startswith(STARTUP_MESSAGES))
            os.write(2, b"".join(line for line in lines if not (ignore_cuda and CUDA_MESSAGE.match(line))))


def without_cuda_messages() -> AbstractContextManager[None]:
    """Removes CUDA's messages about a missing GPU; where there is a GPU, all messages appear, at once."""
    return nullcontext() if has_nvidia_driver() else without_startup_messages()


def has_nvidia_driver() -> bool:
    """Returns whether this machine has an NVIDIA GPU with its driver."""
    return any(Path(path).exists() for path in NVIDIA_DRIVER)
