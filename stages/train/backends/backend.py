"""The one door to the library that computes: Keras decides once, at its import, whether that is TensorFlow or JAX."""

from stages.train.backends.interface import Backend


def load_backend() -> Backend:
    """The module of the backend that Keras was imported with; importing it takes seconds."""
    import keras  # slow: the caller has loaded it

    if keras.backend.backend() == "jax":
        from stages.train.backends import jax_backend  # JAX need not be installed

        return jax_backend
    from stages.train.backends import tensorflow_backend  # the same

    return tensorflow_backend
