"""Selects the backend module: TensorFlow or JAX, as chosen when Keras was imported."""

from stages.train.backends.interface import Backend


def load_backend() -> Backend:
    """Returns the module of the backend that Keras was imported with; its first import takes seconds."""
    import keras  # slow: the caller has imported it

    if keras.backend.backend() == "jax":
        from stages.train.backends import jax_backend  # JAX is an optional dependency

        return jax_backend
    from stages.train.backends import tensorflow_backend  # TensorFlow too

    return tensorflow_backend
