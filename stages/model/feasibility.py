"""Checks whether a model can be trained on samples of a given kind and size with a given number of classes."""

from collections.abc import Iterator, Sequence

from stages.base.sample_kinds import KINDS, Kind
from stages.model.config import CnnModel, Conv1dModel, Model
from stages.model.sample_fit import kind_errors

ADVICE = "use fewer `filters`, a smaller kernel_size or pool_size, `padding: same`, or a smaller crop"


def feasibility_errors(
    model: Model, size: Sequence[int] | None, classes: int | None, kind: Kind = "image"
) -> list[str]:
    """Returns one message for each reason why `model` cannot be trained on a data set.

    Args:
        model: a model whose section is valid.
        size: shape of a sample, of an image its height and width after the crop, in pixels; None if unknown.
        classes: number of classes of the data set; None if unknown.
        kind: what a sample is.
    """
    messages = list(kind_errors(model, kind))
    messages += [] if messages or size is None else _size_errors(model, size, kind)
    return messages + ([] if classes is None else list(_class_errors(model, classes)))


def validation_errors(model: Model) -> list[str]:
    """Returns one message for each key of `model` that needs validation samples, where there are none."""
    schedule = model.optimizer.schedule
    needing = {
        "early_stopping": model.early_stopping is not None,
        "keep: best": model.keep == "best",
        "seeds": model.seeds is not None,  # the median validation loss chooses the seed
        "optimizer.schedule reduce_on_plateau": schedule is not None and schedule.name == "reduce_on_plateau",
    }
    return [
        f"`{key}` needs validation samples, but `prepare.validation` is 0; set it above 0, or remove the key"
        for key, is_set in needing.items()
        if is_set
    ]


def _class_errors(model: Model, classes: int) -> Iterator[str]:
    unknown = [label for label in model.positive or [] if label >= classes]
    if unknown:
        yield f"`positive` has the label {unknown[0]}, expected 0 to {classes - 1}, the labels of the data set"
    if model.positive and len(model.positive) == classes:
        yield f"`positive` has all {classes} labels, so the negative class is empty; remove at least one"
    if "top_k_categorical_accuracy" in (model.metrics or []) and (model.top_k or 5) >= classes:
        yield (
            f"`metrics` has top_k_categorical_accuracy with k = {model.top_k or 5}, which is always 1 for {classes} "
            f"classes; set `top_k` below {classes}, or remove it"
        )
    for key, numbers in (("values", model.values), ("class_weights", model.class_weights)):
        expected = 2 if model.task == "two_class" else classes
        if numbers is not None and len(numbers) != expected:
            yield f"`{key}` has {len(numbers)} numbers, expected {expected}, one for each class of the data set"


def _size_errors(model: Model, size: Sequence[int], kind: Kind) -> list[str]:
    """Checks that convolutions and poolings leave at least one pixel or step; other networks accept every size."""
    if not isinstance(model, CnnModel | Conv1dModel):
        return []
    is_1d = isinstance(model, Conv1dModel)
    repeat = model.repeat if isinstance(model, CnnModel) else 1
    reduction = 0 if model.padding == "same" else (model.kernel_size - 1) * repeat
    sides = list(size[:1] if is_1d else size[:2])
    for number in range(1, len(model.filters) + 1):
        sides = [(side - reduction) // model.pool_size for side in sides]
        if min(sides) < 1:
            least = f"nothing is left after convolution {number} of {len(model.filters)}, expected at least"
            if kind != "image":
                advice = ADVICE.removesuffix(", or a smaller crop")
                return [f"{KINDS[kind].noun}s of {size[0]} steps are too short: {least} 1 step; {advice}"]
            return [
                f"images with {size[0]}x{size[1]} pixels are too small: {least} {'1 row' if is_1d else '1x1'}; {ADVICE}"
            ]
    return []
