"""The first layers of networks whose samples are sequences of tokens: integers, of which 0 is padding."""

from typing import Any

from keras import layers

from stages.model.config import DenseModel, Model, RecurrentModel


def embed(model: Model, shape: tuple[int, ...], vocabulary: int | None) -> tuple[list[Any], tuple[int, ...]]:
    """Returns the layers that turn samples of `shape` into features, and the shape of these: none but for tokens.

    A recurrent network skips padding, wherever it is: at the end it would wash out the state, as TensorFlow's tutorial
    on text with a recurrent network says. A dense network takes the mean over all steps, and convolutions run over all
    of them, as in Keras's own examples on IMDB's reviews.

    Args:
        model: the model; a network that embeds tokens itself has no `embedding`.
        shape: of a sample, (steps,) for tokens.
        vocabulary: number of tokens; None for other samples.
    """
    width: int | None = getattr(model, "embedding", None)
    if vocabulary is None or width is None:
        return [], shape
    embedding = layers.Embedding(vocabulary, width, mask_zero=isinstance(model, RecurrentModel))
    if isinstance(model, DenseModel):
        return [embedding, layers.GlobalAveragePooling1D()], (width,)
    return [embedding], (*shape, width)
