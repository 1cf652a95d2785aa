"""Backends of a training, TensorFlow and JAX: each has its device functions and its training loop."""
