"""Whether a model can be trained on images of a certain size with a certain number of classes."""

from collections.abc import Iterator, Sequence

from stages.model.config import CnnModel, Conv1dModel, Model

ADVICE = "use fewer `filters`, a smaller kernel_size or pool_size, `padding: same`, or crop less"


def misfits(model: Model, size: Sequence[int] | None, classes: int | None) -> list[str]:
    """Why `model` cannot be trained on such data, a sentence each.

    Args:
        model: a model that its own section allows.
        size: height and width of an image after the crop, in pixels; None when nobody knows yet.
        classes: how many there are; None when nobody knows yet.
    """
    of_size = [] if size is None else _size_misfits(model, size)
    return [*of_size, *([] if classes is None else _class_misfits(model, classes))]


def _class_misfits(model: Model, classes: int) -> Iterator[str]:
    beyond = [label for label in model.positive or [] if label >= classes]
    if beyond:
        yield f"`positive` has the label {beyond[0]}, expected 0 to {classes - 1}, the labels of the data set"
    if model.positive and len(model.positive) == classes:
        yield f"`positive` has all {classes} labels: there would be nothing to tell apart"
    for key, numbers in (("values", model.values), ("class_weights", model.class_weights)):
        wanted = 2 if model.task == "two_class" else classes
        if numbers is not None and len(numbers) != wanted:
            yield f"`{key}` has {len(numbers)} numbers, expected {wanted}, one for each class of the data set"


def _size_misfits(model: Model, size: Sequence[int]) -> list[str]:
    """What convolutions and poolings leave nothing of; recurrent and dense layers take any size."""
    if not isinstance(model, CnnModel | Conv1dModel):
        return []
    rows_alone = isinstance(model, Conv1dModel)
    repeat = model.repeat if isinstance(model, CnnModel) else 1
    lost = 0 if model.padding == "same" else (model.kernel_size - 1) * repeat
    sides = list(size[:1] if rows_alone else size[:2])
    for number in range(1, len(model.filters) + 1):
        sides = [(side - lost) // model.pool_size for side in sides]
        if min(sides) < 1:
            least = "1 row" if rows_alone else "1x1"
            return [
                f"of images with {size[0]}x{size[1]} pixels nothing is left after "
                f"convolution {number} of {len(model.filters)}, expected at least {least}; {ADVICE}"
            ]
    return []
