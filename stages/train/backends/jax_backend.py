"""JAX as a backend of training: implements `stages.train.backends.interface.Backend`."""

import os
from typing import Any

import jax

from stages.train.backends.interface import Gpu
from stages.train.backends.jax_loop import JaxLoop

BFLOAT16_SINCE = 8.0  # compute capability: Ampere

make_loop = JaxLoop


def configure(threads: int | None) -> None:
    """Applies all settings that JAX reads when it first looks for devices: threads, one GPU, memory growth.

    Operations are deterministic, at some cost in speed, and float32 is not Ampere's shorter TensorFloat-32.
    """
    if threads is not None:
        os.environ["NPROC"] = str(threads)  # read by XLA
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax.config.update("jax_cuda_visible_devices", "0")  # the first of those in CUDA_VISIBLE_DEVICES
    jax.config.update("jax_default_matmul_precision", "highest")


def first_gpu() -> Gpu | None:
    """Returns the first GPU visible to JAX."""
    try:
        gpu = jax.devices("gpu")[0]
    except RuntimeError:
        return None
    return Gpu(gpu.device_kind, float(getattr(gpu, "compute_capability", 0)) >= BFLOAT16_SINCE)


def use_gpu() -> None:
    """Computes on the first GPU."""
    jax.config.update("jax_default_device", jax.devices("gpu")[0])


def use_cpu() -> None:
    """Computes on the CPU."""
    jax.config.update("jax_default_device", jax.devices("cpu")[0])


def explain_missing_gpu() -> str:
    """Returns why JAX finds no GPU, and what to do."""
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        return f"JAX reports: {str(error).splitlines()[0]}; run uv pip install 'jax[cuda12]'"
    return "JAX finds one now; run again"


def with_fused_kernels(network: Any) -> Any:
    """Returns `network` itself: XLA fuses kernels for JAX."""
    return network
