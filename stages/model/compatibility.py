"""Which loss, task and output go together, how a label is then written, and why the others do not."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

TaskName = Literal["multiclass", "two_class", "regression"]
OutputName = Literal["softmax", "sigmoid", "logits", "linear", "softplus"]
LossName = Literal[
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
    "kl_divergence",
    "poisson",
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "log_cosh",
    "hinge",
    "squared_hinge",
    "categorical_hinge",
    "cosine_similarity",
]
# integer: (n,); one_hot: (n, classes) of 0 and 1; signs: (n, classes) of -1 and 1; binary: (n, 1) of 0 and 1, which
# Keras's hinge losses turn into -1 and 1 themselves; scalar: (n, 1) of the numbers that labels stand for
Encoding = Literal["integer", "one_hot", "signs", "binary", "scalar"]


class Fit(NamedTuple):
    """How labels are written for a loss, and the outputs that the loss can judge."""

    encoding: Encoding
    outputs: tuple[OutputName, ...]


OUTPUTS: dict[TaskName, tuple[OutputName, ...]] = {
    "multiclass": ("softmax", "logits"),
    "two_class": ("sigmoid", "logits"),
    "regression": ("linear", "softplus"),
}
LOSSES: dict[TaskName, LossName] = {  # when none is chosen
    "multiclass": "sparse_categorical_crossentropy",
    "two_class": "binary_crossentropy",
    "regression": "mean_squared_error",
}
FITS: dict[TaskName, dict[LossName, Fit]] = {
    "multiclass": {
        "sparse_categorical_crossentropy": Fit("integer", ("softmax", "logits")),
        "categorical_crossentropy": Fit("one_hot", ("softmax", "logits")),
        "binary_crossentropy": Fit("one_hot", ("softmax", "logits")),
        "cosine_similarity": Fit("one_hot", ("softmax", "logits")),
        "categorical_hinge": Fit("one_hot", ("logits",)),
        "hinge": Fit("signs", ("logits",)),
        "squared_hinge": Fit("signs", ("logits",)),
        "kl_divergence": Fit("one_hot", ("softmax",)),
        "poisson": Fit("one_hot", ("softmax",)),
        "mean_squared_error": Fit("one_hot", ("softmax",)),
        "mean_absolute_error": Fit("one_hot", ("softmax",)),
        "mean_squared_logarithmic_error": Fit("one_hot", ("softmax",)),
        "log_cosh": Fit("one_hot", ("softmax",)),
    },
    "two_class": {
        "binary_crossentropy": Fit("binary", ("sigmoid", "logits")),
        "hinge": Fit("binary", ("logits",)),
        "squared_hinge": Fit("binary", ("logits",)),
        "poisson": Fit("binary", ("sigmoid",)),
        "mean_squared_error": Fit("binary", ("sigmoid",)),
        "mean_absolute_error": Fit("binary", ("sigmoid",)),
        "mean_squared_logarithmic_error": Fit("binary", ("sigmoid",)),
        "log_cosh": Fit("binary", ("sigmoid",)),
    },
    "regression": {
        "mean_squared_error": Fit("scalar", ("linear", "softplus")),
        "mean_absolute_error": Fit("scalar", ("linear", "softplus")),
        "mean_absolute_percentage_error": Fit("scalar", ("linear", "softplus")),
        "mean_squared_logarithmic_error": Fit("scalar", ("linear", "softplus")),
        "log_cosh": Fit("scalar", ("linear", "softplus")),
        "poisson": Fit("scalar", ("softplus",)),
    },
}
HINGES = ("hinge", "squared_hinge", "categorical_hinge")
CROSSENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "kl_divergence")

SMOOTHED: dict[TaskName, LossName] = {  # where labels can be smoothed
    "multiclass": "categorical_crossentropy",
    "two_class": "binary_crossentropy",
}


def misfit(task: TaskName, output: OutputName, loss: LossName) -> str | None:
    """Why `task`, `output` and `loss` cannot be trained together, with what to choose; None when they can."""
    if output not in OUTPUTS[task]:
        return f"`output: {output}` does not go with `task: {task}`: {_wrong_output(task, output)}"
    fit = FITS[task].get(loss)
    if fit is None:
        return f"`loss: {loss}` does not go with `task: {task}`: {_wrong_loss(task, loss)}"
    if output not in fit.outputs:
        reason = _wrong_kind(loss)
        return f"`loss: {loss}` does not go with `output: {output}`: {reason}; choose {_either(fit.outputs)}"
    return None


def _wrong_output(task: TaskName, output: OutputName) -> str:
    choice = f"choose {_either(OUTPUTS[task])}"
    if task == "two_class" and output == "softmax":
        return f"the softmax of a single output is always 1; {choice}"
    if task == "multiclass":
        return f"it does not give one probability a class, with the sum 1; {choice}"
    if task == "two_class":
        return f"it does not give a probability from 0 to 1; {choice}"
    return f"a number to predict is neither a probability nor a score; {choice}"


def _wrong_loss(task: TaskName, loss: LossName) -> str:
    choice = f"choose {_either(tuple(FITS[task]))}"
    if loss == "mean_absolute_percentage_error":
        return f"it divides by the target, and a class that is not the right one has 0; {choice}"
    if task == "regression" and loss in (*HINGES, *CROSSENTROPIES):
        return f"it compares classes, and a number to predict has none; {choice}"
    if loss == "cosine_similarity":
        return f"between single numbers it sees the sign alone; {choice}"
    if loss == "kl_divergence":
        return f"of a single output it sees the positive samples alone; {choice}"
    return f"it compares one output a class, and there is a single one; {choice}"


def _wrong_kind(loss: LossName) -> str:
    if loss in HINGES:
        return "it wants scores without bounds, with a margin of 1 between right and wrong"
    if loss == "poisson":
        return "it takes the logarithm of the output, which must be above 0"
    return "it compares the output with 0 and 1, so that it must be a probability"


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
