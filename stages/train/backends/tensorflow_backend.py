"""TensorFlow as a backend of training: implements `stages.train.backends.interface.Backend`."""

import ctypes
from pathlib import Path
from typing import Any

import tensorflow as tf

from stages.train.backends.fused_batch_norm import with_fused_batch_norm
from stages.train.backends.interface import Gpu
from stages.train.backends.late_relu import with_late_relu
from stages.train.backends.tensorflow_loop import TensorFlowLoop

DRIVER = Path("/proc/driver/nvidia/version")
LIBRARIES = {
    "libcuda.so.1": "the driver",
    "libcudart.so.12": "CUDA",
    "libcublas.so.12": "CUDA",
    "libcudnn.so.9": "cuDNN",
}
BFLOAT16_SINCE = (8, 0)  # compute capability: Ampere
INSTALL = "uv pip install --constraint requirements.lock --editable '.[gpu]'"

make_loop = TensorFlowLoop


def configure(threads: int | None) -> None:
    """Sets the number of threads, and full float32 precision in place of Ampere's shorter TensorFloat-32."""
    if threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.experimental.enable_tensor_float_32_execution(False)


def first_gpu() -> Gpu | None:
    """Returns the first GPU visible to TensorFlow."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    native_bfloat16 = details.get("compute_capability", (0, 0)) >= BFLOAT16_SINCE
    return Gpu(details.get("device_name", gpus[0].name), native_bfloat16)


def use_gpu() -> None:
    """Makes only the first GPU visible, with memory growth and deterministic operations."""
    first = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(first, True)
    tf.config.set_visible_devices(first, "GPU")
    tf.config.experimental.enable_op_determinism()


def use_cpu() -> None:
    """Hides all GPUs.

    Operations are deterministic on a CPU anyway; TensorFlow's switch for determinism would only forbid compilation.
    """
    tf.config.set_visible_devices([], "GPU")


def explain_missing_gpu() -> str:
    """Returns why TensorFlow finds no GPU, and what to do."""
    if not tf.sysconfig.get_build_info().get("is_cuda_build"):
        return "this build of TensorFlow has no CUDA; install a build with CUDA"
    if not DRIVER.exists():
        return "the NVIDIA driver is not loaded (nvidia-smi shows details); install it and a GPU"
    for library, component in LIBRARIES.items():
        if not _can_be_loaded(library):
            return f"{library} of {component} cannot be loaded; run {INSTALL}"
    return "TensorFlow finds none, although its libraries are installed; check nvidia-smi and CUDA_VISIBLE_DEVICES"


def with_fused_kernels(network: Any) -> Any:
    """Returns the same layers and variables with faster kernels for training, or the network itself."""
    return with_fused_batch_norm(with_late_relu(network))


def _can_be_loaded(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
