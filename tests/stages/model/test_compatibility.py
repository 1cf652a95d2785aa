"""Parameters that cannot be trained are rejected with a reason before any stage runs."""

from typing import Any

import pytest

from stages.base.errors import ParamsError
from stages.model.compatibility import COMPATIBLE_LOSSES, OUTPUTS, find_incompatibility
from stages.params.schema import check_params
from tests.support.learning import settings

TWO: dict[str, Any] = {"task": "two_class", "positive": [1]}
NUMBER: dict[str, Any] = {"task": "regression"}

# The settings of a model, and the expected message.
MODELS = [
    (TWO | {"output": "softmax"}, "the softmax of a single output is always 1; choose sigmoid or logits"),
    (TWO | {"output": "linear"}, "does not give a probability from 0 to 1; choose sigmoid or logits"),
    ({"output": "sigmoid"}, "does not give one probability per class with the sum 1; choose softmax or logits"),
    (NUMBER | {"output": "softmax"}, "neither a probability nor a score; choose linear or softplus"),
    ({"loss": "hinge"}, "`loss: hinge` is not compatible with `output: softmax`: it needs unbounded scores"),
    ({"loss": "categorical_hinge"}, "with a margin of 1 between right and wrong; choose logits"),
    (TWO | {"loss": "squared_hinge"}, "`loss: squared_hinge` is not compatible with `output: sigmoid`"),
    ({"loss": "poisson", "output": "logits"}, "it takes the logarithm of the output, which must be above 0"),
    ({"loss": "mean_squared_error", "output": "logits"}, "the output must be a probability; choose softmax"),
    ({"loss": "kl_divergence", "output": "logits"}, "the output must be a probability; choose softmax"),
    ({"loss": "mean_absolute_percentage_error"}, "it divides by the target, which is 0 for every wrong class"),
    (TWO | {"loss": "kl_divergence"}, "with a single output it ignores the negative samples"),
    (TWO | {"loss": "cosine_similarity"}, "of two single numbers it compares only the signs"),
    (TWO | {"loss": "categorical_crossentropy"}, "it needs one output per class, and this task has a single output"),
    (NUMBER | {"loss": "binary_crossentropy"}, "it compares classes, and a regression has none"),
    (NUMBER | {"loss": "hinge"}, "it compares classes, and a regression has none"),
    (NUMBER | {"loss": "cosine_similarity"}, "of two single numbers it compares only the signs"),
    (NUMBER | {"loss": "poisson"}, "which must be above 0; choose softplus"),
    (NUMBER | {"loss": "mean_absolute_percentage_error"}, "a label has the value 0; set `values` without 0"),
    (NUMBER | {"loss": "mean_squared_logarithmic_error", "values": [-2.0, 1.0]}, "a label has the value -2"),
    (NUMBER | {"output": "softplus", "values": [-2.0, 1.0]}, "`output: softplus` is above 0"),
    (NUMBER | {"values": [1.0, 1e39]}, "values.1: got 1e+39, expected 1000000000000.0 or less"),
    (NUMBER | {"values": [-2e12, 1.0]}, "values.0: got -2000000000000.0, expected -1000000000000.0 or more"),
    (NUMBER | {"class_weights": [1.0, 2.0]}, "`class_weights` is not compatible with `task: regression`"),
    (NUMBER | {"balance": True}, "`balance` is not compatible with `task: regression`: a regression has no classes"),
    ({"class_weights": [1.0, 2.0], "balance": True}, "`class_weights` and `balance` both set the weights"),
    ({"class_weights": [0.0, 0.0]}, "`class_weights` are all 0, expected at least one above 0"),
    ({"label_smoothing": 0.1}, "with `loss: sparse_categorical_crossentropy`; choose categorical_crossentropy"),
    ({"label_smoothing": 0.1, "loss": "binary_crossentropy"}, "choose categorical_crossentropy"),
    (NUMBER | {"label_smoothing": 0.1}, "`label_smoothing` is not compatible with `task: regression`"),
    ({"test_time_augmentation": {}}, "has no copies; set rotation, zoom or shift above 0"),
    (TWO | {"class_weights": [1.0, 1.0, 1.0]}, "has 3 numbers, expected 2: of the negative and the positive class"),
    ({"task": "two_class"}, "needs `positive`, the labels of the positive class"),
    ({"positive": [1]}, "`positive` needs `task: two_class`, got multiclass"),
    (TWO | {"positive": [1, 1]}, "got [1, 1], expected each number once"),
    ({"values": [1.0, 2.0]}, "`values` needs `task: regression`, got multiclass"),
    ({"skip": True}, "`skip` needs `form: functional`: a sequential model has no branches"),
    ({"skip": True, "form": "functional", "units": []}, "`skip` applies to hidden dense layers, but `units` is empty"),
    ({"units": [], "l2": 0.01}, "`l2` applies to hidden layers, but `units` is empty"),
    (
        {"units": [], "batch_normalisation": True},
        "`batch_normalisation` applies to hidden layers, but `units` is empty",
    ),
    ({"optimizer": {"name": "sgd", "nesterov": True}}, "`nesterov` needs a momentum, but `momentum` is 0"),
    (
        {"optimizer": {"name": "adam", "schedule": {"name": "cosine", "factor": 0.5}}},
        "`factor` needs exponential",
    ),
    (
        {"optimizer": {"name": "sgd", "decay": 0.1, "schedule": {"name": "cosine"}}},
        "`decay` and the schedule cosine both set the learning rate; choose one",
    ),
]
# Changes of the data set and of prepare, the settings of a model, and the expected message.
DATA = [
    ({}, {"crop": {"top": 4, "bottom": 8}}, {}, "prepare.crop removes 4 and 8 rows from images that have 12"),
    ({}, {"crop": {"left": 10}}, {}, "removes 10 and 0 columns from images that have 10; remove at most 9 in total"),
    (
        {},
        {},
        {"network": "cnn", "filters": [4, 4, 4]},
        "12x10 pixels are too small: nothing is left after convolution 3 of 3",
    ),
    ({}, {"crop": {"top": 9}}, {"network": "conv1d", "filters": [4]}, "images with 3x10 pixels are too small"),
    ({}, {}, {"network": "cnn", "filters": [4] * 4, "padding": "same"}, "after convolution 4 of 4"),
    ({}, {}, TWO | {"positive": [4]}, "`positive` has the label 4, expected 0 to 3, the labels of the data set"),
    ({}, {}, TWO | {"positive": [0, 1, 2, 3]}, "`positive` has all 4 labels, so the negative class is empty"),
    ({}, {}, {"class_weights": [1.0, 1.0]}, "`class_weights` has 2 numbers, expected 4, one for each class"),
    ({}, {}, NUMBER | {"values": [1.0, 2.0]}, "`values` has 2 numbers, expected 4, one for each class"),
    ({"class_names": ["a", "b", "c"]}, {}, {}, "has 3 `class_names`, but `classes` is 4"),
    ({"class_names": ["a", "b", "b", "c"]}, {}, {}, "holds 'b' more than once"),
    ({"shape": [7, 10]}, {}, {}, "got [7, 10], expected [height, width] of 8 to 128 pixels"),
    ({"pixels": {"low": 1.0, "high": 1.0}}, {}, {}, "got low 1 and high 1, expected low below high"),
]


def messages_of(model: dict[str, Any], dataset: dict[str, Any] | None = None, **prepare: Any) -> tuple[str, ...]:
    """Returns the messages about a params.yaml with this model."""
    section = {"title": "Tiny", "embedded": "digits", "shape": [12, 10], "classes": 4} | (dataset or {})
    network = model.get("network", "dense")
    content = {
        "dataset": "tiny",
        "datasets": {"tiny": section},
        "prepare": prepare,
        "models": {"tried": settings(network) | model},
        "report": {},
    }
    with pytest.raises(ParamsError) as caught:
        check_params(content)
    return caught.value.messages


@pytest.mark.parametrize(("model", "expected"), MODELS)
def test_incompatible_settings_are_rejected(model: dict[str, Any], expected: str) -> None:
    """The message names the model, the incompatible settings, the reason and the alternatives."""
    (message,) = messages_of(model)
    assert message.startswith("models.tried")
    assert expected in message


@pytest.mark.parametrize(("dataset", "prepare", "model", "expected"), DATA)
def test_models_must_match_the_data_set(
    dataset: dict[str, Any], prepare: dict[str, Any], model: dict[str, Any], expected: str
) -> None:
    """A crop or a model that is not possible with the shape and classes in params.yaml is rejected."""
    (message,) = messages_of(model, dataset, **prepare)
    assert expected in message


def test_every_combination_is_allowed_or_explained() -> None:
    """Each combination of loss, task and output is in the table, or has a reason with alternatives."""
    losses = {loss for specs in COMPATIBLE_LOSSES.values() for loss in specs}
    outputs = {output for names in OUTPUTS.values() for output in names}
    for task, specs in COMPATIBLE_LOSSES.items():
        for loss in losses:
            for output in outputs:
                reason = find_incompatibility(task, output, loss)
                is_allowed = loss in specs and output in specs[loss].outputs
                assert (reason is None) == is_allowed
                assert reason is None or "; choose " in reason


def test_all_losses_are_known() -> None:
    """Fourteen losses can be selected."""
    assert len({loss for specs in COMPATIBLE_LOSSES.values() for loss in specs}) == 14
