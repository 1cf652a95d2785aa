"""What TensorFlow computes on."""

import ctypes
from pathlib import Path

import tensorflow as tf

from stages.train.backends.interface import Gpu

DRIVER = Path("/proc/driver/nvidia/version")
LIBRARIES = {
    "libcuda.so.1": "the driver",
    "libcudart.so.12": "CUDA",
    "libcublas.so.12": "CUDA",
    "libcudnn.so.9": "cuDNN",
}
BFLOAT16_SINCE = (8, 0)  # compute capability: Ampere
INSTALL = "uv pip install --constraint requirements.lock --editable '.[gpu]'"


def prepare(threads: int | None) -> None:
    """Compute with so many threads, and in float32 where it is asked for, not in Ampere's shorter TensorFloat-32."""
    if threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.experimental.enable_tensor_float_32_execution(False)


def first_gpu() -> Gpu | None:
    """The first GPU that TensorFlow sees."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    capable = details.get("compute_capability", (0, 0)) >= BFLOAT16_SINCE
    return Gpu(details.get("device_name", gpus[0].name), capable)


def use_gpu() -> None:
    """Make the first GPU alone visible, let its memory grow, and let its operations be deterministic."""
    first = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(first, True)
    tf.config.set_visible_devices(first, "GPU")
    tf.config.experimental.enable_op_determinism()


def use_cpu() -> None:
    """Hide all GPUs.

    Operations are deterministic on a CPU as they are: TensorFlow's switch for it would only forbid to compile.
    """
    tf.config.set_visible_devices([], "GPU")


def why_no_gpu() -> str:
    """Why TensorFlow sees no GPU, and what to do."""
    built = tf.sysconfig.get_build_info()
    if not built.get("is_cuda_build"):
        return "this build of TensorFlow has no CUDA; install another one"
    if not DRIVER.exists():
        return "the NVIDIA driver is not loaded (nvidia-smi shows more); install it and a GPU"
    for library, part in LIBRARIES.items():
        if not _loads(library):
            return f"{library} of {part} cannot be loaded; run {INSTALL}"
    return "TensorFlow sees none though its libraries are there (nvidia-smi and CUDA_VISIBLE_DEVICES may tell)"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
