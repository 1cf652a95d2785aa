"""TensorFlow as a backend of training; see `stages.train.backends.interface.Backend`."""

from typing import Any

from stages.train.backends.fused_batch_norm import with_fused_normalisation as with_fast_kernels
from stages.train.backends.tensorflow_device import first_gpu, prepare, use_cpu, use_gpu, why_no_gpu
from stages.train.backends.tensorflow_loop import TensorFlowLoop

__all__ = ["first_gpu", "make_loop", "prepare", "use_cpu", "use_gpu", "why_no_gpu", "with_fast_kernels"]


def make_loop(network: Any) -> TensorFlowLoop:
    """The loop of the compiled `network`."""
    return TensorFlowLoop(network)
