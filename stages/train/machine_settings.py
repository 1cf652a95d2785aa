"""Settings of the machine that would change a training without a word: Keras's own file, environment variables.

`fixed_settings` undoes those that can be undone when Keras is loaded. `remaining_settings` has the others, which act
when NumPy or the C library is loaded: they go into training.json and into the checkpoint's key.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from stages.base.errors import InvalidInput

BACKENDS = ("tensorflow", "jax")
# Of variables of Keras, TensorFlow, XLA, JAX, oneDNN and CUDA: a list of single names would always be too short.
PREFIXES = ("KERAS_", "TF_", "XLA_", "JAX_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "NVIDIA_TF32_", "CUBLAS_")
KEPT = (  # these choose the backend, log messages, the device, or how memory is allocated, and change no number
    "KERAS_BACKEND", "KERAS_HOME", "TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR", "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_", "JAX_PLATFORM", "JAX_COMPILATION_CACHE_", "JAX_LOGGING_LEVEL", "MKL_VERBOSE",
)  # fmt: skip
KEPT_XLA_FLAGS = ("--xla_gpu_cuda_data_dir=",)  # where CUDA is installed
UNCHANGEABLE = ("NPY_", "GLIBC_TUNABLES")  # read before the first line of the stage: the kernels of NumPy and of libm
NPROC = "NPROC"  # XLA's number of threads


@contextmanager
def fixed_settings() -> Iterator[None]:
    """Removes the variables that change results, for good; within the block Keras finds no ~/.keras/keras.json.

    Raises:
        InvalidInput: `KERAS_BACKEND` names another backend than BACKENDS.
    """
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise InvalidInput(f"KERAS_BACKEND is {backend!r}, expected {' or '.join(BACKENDS)}; unset or change it")
    for name in [name for name in os.environ if name.startswith(PREFIXES) and not name.startswith(KEPT)]:
        del os.environ[name]
    os.environ.pop(NPROC, None)  # the model's `threads`, which is recorded, decides alone
    flags = [flag for flag in os.environ.pop("XLA_FLAGS", "").split() if flag.startswith(KEPT_XLA_FLAGS)]
    home = os.environ.get("KERAS_HOME")
    os.environ |= {"KERAS_BACKEND": backend} | ({"XLA_FLAGS": " ".join(flags)} if flags else {})
    os.environ["KERAS_HOME"] = os.devnull  # Keras neither reads a file there nor writes one
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        os.environ |= {"KERAS_HOME": home} if home is not None else {}


def remaining_settings() -> dict[str, str]:
    """Returns the variables in the environment that can change results and are not removed, sorted by name."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(UNCHANGEABLE)}
