"""The libraries that compute a training: TensorFlow or JAX, each with its device and its inner loop."""
