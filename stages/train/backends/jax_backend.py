"""JAX as a backend of training; see `stages.train.backends.interface.Backend`."""

from typing import Any

from stages.train.backends.jax_device import first_gpu, prepare, use_cpu, use_gpu, why_no_gpu
from stages.train.backends.jax_loop import JaxLoop

__all__ = ["first_gpu", "make_loop", "prepare", "use_cpu", "use_gpu", "why_no_gpu", "with_fast_kernels"]


def with_fast_kernels(network: Any) -> Any:
    """`network` itself: XLA, with which JAX computes, makes its own kernels."""
    return network


def make_loop(network: Any) -> JaxLoop:
    """The loop of the compiled `network`."""
    return JaxLoop(network)
