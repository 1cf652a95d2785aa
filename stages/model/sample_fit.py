"""Checks whether a model suits the kind of the samples: images, vectors, sequences or tokens."""

from collections.abc import Iterator

from stages.base.sample_kinds import KINDS, Kind
from stages.model.config import Model

NETWORKS: dict[str, tuple[Kind, ...]] = {  # the kinds of samples that a network takes; others take all
    "cnn": ("image",),
    "conv1d": ("image", "sequence", "tokens"),
    "recurrent": ("image", "sequence", "tokens"),
}
OF_IMAGES = ("augmentation", "test_time_augmentation")


def kind_errors(model: Model, kind: Kind) -> Iterator[str]:
    """Yields one message for each key of `model` that does not suit samples of `kind`."""
    noun = f"{KINDS[kind].noun}s"
    if kind not in NETWORKS.get(model.network, KINDS):
        suitable = [name for name in ("dense", "recurrent", "conv1d") if kind in NETWORKS.get(name, KINDS)]
        takes = " or ".join(f"{KINDS[taken].noun}s" for taken in NETWORKS[model.network])
        yield f"`network: {model.network}` takes {takes}, but the data set has {noun}; choose {' or '.join(suitable)}"
    for key in OF_IMAGES:
        if kind != "image" and getattr(model, key) is not None:
            yield f"`{key}` is for images, but the data set has {noun}; remove it"
    embedding = getattr(model, "embedding", None)
    if kind == "tokens" and embedding is None and "embedding" in type(model).model_fields:
        yield "needs `embedding`, the number of features that each token is turned into, such as `embedding: 32`"
    if kind != "tokens" and embedding is not None:
        yield f"`embedding` is for tokens, but the data set has {noun}; remove it"
