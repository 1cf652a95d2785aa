"""Which losses and outputs each task can use, how each loss encodes labels, and why other combinations fail."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from stages.model.custom_code import is_code

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
# integer: (n,); one_hot: (n, classes) of 0 and 1; signs: (n, classes) of -1 and 1; binary: (n, 1) of 0 and 1 (Keras's
# hinge losses convert these to -1 and 1); scalar: (n, 1), the target value of each label
Encoding = Literal["integer", "one_hot", "signs", "binary", "scalar"]


class LossSpec(NamedTuple):
    """The encoding of labels that a loss needs, and the outputs that it accepts."""

    encoding: Encoding
    outputs: tuple[OutputName, ...]


OUTPUTS: dict[TaskName, tuple[OutputName, ...]] = {  # the first one is the default
    "multiclass": ("softmax", "logits"),
    "two_class": ("sigmoid", "logits"),
    "regression": ("linear", "softplus"),
}
DEFAULT_LOSSES: dict[TaskName, LossName] = {
    "multiclass": "sparse_categorical_crossentropy",
    "two_class": "binary_crossentropy",
    "regression": "mean_squared_error",
}
COMPATIBLE_LOSSES: dict[TaskName, dict[LossName, LossSpec]] = {
    "multiclass": {
        "sparse_categorical_crossentropy": LossSpec("integer", ("softmax", "logits")),
        "categorical_crossentropy": LossSpec("one_hot", ("softmax", "logits")),
        "binary_crossentropy": LossSpec("one_hot", ("softmax", "logits")),
        "cosine_similarity": LossSpec("one_hot", ("softmax", "logits")),
        "categorical_hinge": LossSpec("one_hot", ("logits",)),
        "hinge": LossSpec("signs", ("logits",)),
        "squared_hinge": LossSpec("signs", ("logits",)),
        "kl_divergence": LossSpec("one_hot", ("softmax",)),
        "poisson": LossSpec("one_hot", ("softmax",)),
        "mean_squared_error": LossSpec("one_hot", ("softmax",)),
        "mean_absolute_error": LossSpec("one_hot", ("softmax",)),
        "mean_squared_logarithmic_error": LossSpec("one_hot", ("softmax",)),
        "log_cosh": LossSpec("one_hot", ("softmax",)),
    },
    "two_class": {
        "binary_crossentropy": LossSpec("binary", ("sigmoid", "logits")),
        "hinge": LossSpec("binary", ("logits",)),
        "squared_hinge": LossSpec("binary", ("logits",)),
        "poisson": LossSpec("binary", ("sigmoid",)),
        "mean_squared_error": LossSpec("binary", ("sigmoid",)),
        "mean_absolute_error": LossSpec("binary", ("sigmoid",)),
        "mean_squared_logarithmic_error": LossSpec("binary", ("sigmoid",)),
        "log_cosh": LossSpec("binary", ("sigmoid",)),
    },
    "regression": {
        "mean_squared_error": LossSpec("scalar", ("linear", "softplus")),
        "mean_absolute_error": LossSpec("scalar", ("linear", "softplus")),
        "mean_absolute_percentage_error": LossSpec("scalar", ("linear", "softplus")),
        "mean_squared_logarithmic_error": LossSpec("scalar", ("linear", "softplus")),
        "log_cosh": LossSpec("scalar", ("linear", "softplus")),
        "poisson": LossSpec("scalar", ("softplus",)),
    },
}
ENCODINGS: dict[TaskName, Encoding] = {
    "multiclass": "one_hot",
    "two_class": "binary",
    "regression": "scalar",
}  # own losses
HINGE_LOSSES = ("hinge", "squared_hinge", "categorical_hinge")
CROSSENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "kl_divergence")

SMOOTHABLE_LOSSES: dict[TaskName, LossName] = {  # with label smoothing
    "multiclass": "categorical_crossentropy",
    "two_class": "binary_crossentropy",
}


def find_incompatibility(task: TaskName, output: OutputName, loss: LossName) -> str | None:
    """Returns why `task`, `output` and `loss` cannot be combined, and the alternatives; None if they can."""
    if output not in OUTPUTS[task]:
        return f"`output: {output}` is not compatible with `task: {task}`: {_output_reason(task, output)}"
    if is_code(loss):
        return None
    spec = COMPATIBLE_LOSSES[task].get(loss)
    if spec is None:
        return f"`loss: {loss}` is not compatible with `task: {task}`: {_loss_reason(task, loss)}"
    if output not in spec.outputs:
        reason = f"{_loss_requirement(loss)}; choose {_either(spec.outputs)}"
        return f"`loss: {loss}` is not compatible with `output: {output}`: {reason}"
    return None


def _output_reason(task: TaskName, output: OutputName) -> str:
    choice = f"choose {_either(OUTPUTS[task])}"
    if task == "two_class" and output == "softmax":
        return f"the softmax of a single output is always 1; {choice}"
    if task == "multiclass":
        return f"it does not give one probability per class with the sum 1; {choice}"
    if task == "two_class":
        return f"it does not give a probability from 0 to 1; {choice}"
    return f"a predicted value is neither a probability nor a score; {choice}"


def _loss_reason(task: TaskName, loss: LossName) -> str:
    choice = f"choose {_either(tuple(COMPATIBLE_LOSSES[task]))}"
    if loss == "mean_absolute_percentage_error":
        return f"it divides by the target, which is 0 for every wrong class; {choice}"
    if task == "regression" and loss in (*HINGE_LOSSES, *CROSSENTROPIES):
        return f"it compares classes, and a regression has none; {choice}"
    if loss == "cosine_similarity":
        return f"of two single numbers it compares only the signs; {choice}"
    if loss == "kl_divergence":
        return f"with a single output it ignores the negative samples; {choice}"
    return f"it needs one output per class, and this task has a single output; {choice}"


def _loss_requirement(loss: LossName) -> str:
    if loss in HINGE_LOSSES:
        return "it needs unbounded scores, with a margin of 1 between right and wrong"
    if loss == "poisson":
        return "it takes the logarithm of the output, which must be above 0"
    return "it compares the output with 0 and 1, so the output must be a probability"


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
