"""What JAX computes on."""

import os
from typing import NamedTuple

import jax

BFLOAT16_SINCE = 8.0  # compute capability: Ampere


class Gpu(NamedTuple):
    """A GPU that can be used."""

    name: str
    bfloat16: bool


def first_gpu() -> Gpu | None:
    """The first GPU that JAX sees."""
    # Read when JAX looks for devices: the same results again, for some speed.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    try:
        gpu = jax.devices("gpu")[0]
    except RuntimeError:
        return None
    return Gpu(gpu.device_kind, float(getattr(gpu, "compute_capability", 0)) >= BFLOAT16_SINCE)


def use_gpu(threads: int | None) -> None:
    """Put what comes on the first GPU alone; JAX takes its memory beforehand unless told otherwise."""
    jax.config.update("jax_default_device", jax.devices("gpu")[0])


def use_cpu(threads: int | None) -> None:
    """Compute on the CPU, with so many threads if JAX has not started yet."""
    if threads is not None:
        os.environ["NPROC"] = str(threads)  # XLA's own name for it
    jax.config.update("jax_default_device", jax.devices("cpu")[0])


def why_no_gpu() -> str:
    """Why JAX sees no GPU, and what to do."""
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        return f"JAX says: {str(error).splitlines()[0]}; run uv pip install 'jax[cuda12]'"
    return "JAX saw none a moment ago"
