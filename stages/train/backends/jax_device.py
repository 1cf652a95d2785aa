"""What JAX computes on."""

import os

import jax

from stages.train.backends.interface import Gpu

BFLOAT16_SINCE = 8.0  # compute capability: Ampere


def prepare(threads: int | None) -> None:
    """Say all that JAX reads when it first looks for devices: threads, one GPU alone, its memory as it is needed.

    Results are the same again, for some speed, and float32 is float32, not Ampere's shorter TensorFloat-32.
    """
    if threads is not None:
        os.environ["NPROC"] = str(threads)  # XLA's own name for it
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax.config.update("jax_cuda_visible_devices", "0")  # of those that CUDA_VISIBLE_DEVICES leaves
    jax.config.update("jax_default_matmul_precision", "highest")


def first_gpu() -> Gpu | None:
    """The first GPU that JAX sees."""
    try:
        gpu = jax.devices("gpu")[0]
    except RuntimeError:
        return None
    return Gpu(gpu.device_kind, float(getattr(gpu, "compute_capability", 0)) >= BFLOAT16_SINCE)


def use_gpu() -> None:
    """Put what comes on the first GPU."""
    jax.config.update("jax_default_device", jax.devices("gpu")[0])


def use_cpu() -> None:
    """Compute on the CPU."""
    jax.config.update("jax_default_device", jax.devices("cpu")[0])


def why_no_gpu() -> str:
    """Why JAX sees no GPU, and what to do."""
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        return f"JAX says: {str(error).splitlines()[0]}; run uv pip install 'jax[cuda12]'"
    return "JAX saw none a moment ago"
