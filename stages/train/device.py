"""Keras with its backend, loaded quietly, the device it computes on, and in which precision."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stages.base.errors import DeviceMissing
from stages.base.machine import available_cores, processor_name
from stages.model.config import Model
from stages.train.backends.backend import load_backend

# What TensorFlow's C++ says whenever it is loaded, before any log level counts.
GREETINGS = (
    b"INFO: ",  # LiteRT's delegates
    b"WARNING: All log messages before absl",
    b"I0000",
)
# What Keras and TensorFlow import where it is installed, 4 s together, for parts that nobody here uses.
UNUSED = ("sklearn", "pandas", "matplotlib")
UNUSED_BY_TENSORFLOW = ("jax", "scipy")
NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names what x86 and Arm processors can do

Wanted = Literal["auto", "cpu", "gpu"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Device:
    """What computes: equal bits can be expected of equal devices with as many threads."""

    kind: Literal["cpu", "gpu"]
    name: str
    threads: int
    bfloat16: bool = False  # computes with it natively

    def as_dict(self) -> dict[str, Any]:
        """The facts for training.json."""
        return asdict(self)

    def __str__(self) -> str:
        """For the log."""
        return f"{self.kind} ({self.name}, {self.threads} threads)"


def load_keras() -> None:
    """Import Keras and its backend without their chatter; takes seconds: check all else before."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors that matter come as exceptions
    os.environ.pop("TF_NUM_INTRAOP_THREADS", None)  # `threads` of the model says it, and is what is recorded
    with without_greetings(), ExitStack() as without:
        unused = UNUSED_BY_TENSORFLOW if os.environ["KERAS_BACKEND"] == "tensorflow" else ()
        for module in (*UNUSED, *unused):
            without.enter_context(_hidden(module))
        without.enter_context(_uncollected())
        import keras  # noqa: F401  (loading it is the purpose)


def set_up_device(wanted: Wanted = "auto", threads: int | None = None) -> Device:
    """Use the first GPU alone and let its memory grow, or the CPU with so many `threads` (all processors when None).

    To be called before Keras computes anything. Equal trainings then give equal bits on either.

    Raises:
        DeviceMissing: a GPU is wanted, and the backend sees none.
    """
    backend = load_backend()
    backend.prepare(threads)
    found = None if wanted == "cpu" else backend.first_gpu()
    if wanted == "gpu" and found is None:
        raise DeviceMissing(backend.why_no_gpu())
    count = threads or available_cores()
    if found is None:
        backend.use_cpu()
        return Device("cpu", processor_name(), count, _processor_has_bfloat16())
    backend.use_gpu()
    return Device("gpu", found.name, count, found.bfloat16)


def choose_precision(model: Model, device: Device) -> Precision:
    """What the layers of `model` compute in on `device`.

    `auto` takes bfloat16 for convolutions alone: products of small matrices take as long in either.
    """
    if model.precision in ("bfloat16", "mixed"):
        return "bfloat16"
    convolves = model.network in ("cnn", "conv1d")
    return "bfloat16" if model.precision == "auto" and convolves and device.bfloat16 else "float32"


def _processor_has_bfloat16() -> bool:
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return False
    lines = facts.read_text(encoding="utf-8").splitlines()
    flags = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return not NATIVE_BFLOAT16.isdisjoint(next(flags, []))


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for unused objects within the block: thousands of modules are made, and all stay; saves 1 s."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Make `import module` fail within the block, unless it is already imported."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's documented way to forbid an import
    try:
        yield
    finally:
        del sys.modules[module]


@contextmanager
def without_greetings() -> Iterator[None]:
    """Hold back standard error, that of C++ too; at the end pass on all but the greetings."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not line.startswith(GREETINGS)))
