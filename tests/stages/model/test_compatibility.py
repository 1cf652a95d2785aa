"""What cannot be learnt is refused with its reason before anything runs."""

from typing import Any

import pytest

from stages.base.errors import ParamsError
from stages.model.compatibility import FITS, OUTPUTS, misfit
from stages.params.schema import check_params
from tests.support.learning import settings

TWO: dict[str, Any] = {"task": "two_class", "positive": [1]}
NUMBER: dict[str, Any] = {"task": "regression"}

# A model's settings, and what the sentence must say.
MODELS = [
    (TWO | {"output": "softmax"}, "the softmax of a single output is always 1; choose sigmoid or logits"),
    (TWO | {"output": "linear"}, "does not give a probability from 0 to 1; choose sigmoid or logits"),
    ({"output": "sigmoid"}, "does not give one probability a class, with the sum 1; choose softmax or logits"),
    (NUMBER | {"output": "softmax"}, "neither a probability nor a score; choose linear or softplus"),
    ({"loss": "hinge"}, "`loss: hinge` does not go with `output: softmax`: it wants scores without bounds"),
    ({"loss": "categorical_hinge"}, "with a margin of 1 between right and wrong; choose logits"),
    (TWO | {"loss": "squared_hinge"}, "`loss: squared_hinge` does not go with `output: sigmoid`"),
    ({"loss": "poisson", "output": "logits"}, "it takes the logarithm of the output, which must be above 0"),
    ({"loss": "mean_squared_error", "output": "logits"}, "it must be a probability; choose softmax"),
    ({"loss": "kl_divergence", "output": "logits"}, "it must be a probability; choose softmax"),
    ({"loss": "mean_absolute_percentage_error"}, "it divides by the target, and a class that is not the right one"),
    (TWO | {"loss": "kl_divergence"}, "of a single output it sees the positive samples alone"),
    (TWO | {"loss": "cosine_similarity"}, "between single numbers it sees the sign alone"),
    (TWO | {"loss": "categorical_crossentropy"}, "it compares one output a class, and there is a single one"),
    (NUMBER | {"loss": "binary_crossentropy"}, "it compares classes, and a number to predict has none"),
    (NUMBER | {"loss": "hinge"}, "it compares classes, and a number to predict has none"),
    (NUMBER | {"loss": "cosine_similarity"}, "between single numbers it sees the sign alone"),
    (NUMBER | {"loss": "poisson"}, "which must be above 0; choose softplus"),
    (NUMBER | {"loss": "mean_absolute_percentage_error"}, "a label stands for 0; give `values` without 0"),
    (NUMBER | {"loss": "mean_squared_logarithmic_error", "values": [-2.0, 1.0]}, "a label stands for -2"),
    (NUMBER | {"output": "softplus", "values": [-2.0, 1.0]}, "`output: softplus` is above 0"),
    (NUMBER | {"class_weights": [1.0, 2.0]}, "`class_weights` does not go with `task: regression`"),
    (NUMBER | {"balance": True}, "`balance` does not go with `task: regression`: a number to predict has no classes"),
    ({"class_weights": [1.0, 2.0], "balance": True}, "`class_weights` and `balance` both set the weights"),
    ({"class_weights": [0.0, 0.0]}, "`class_weights` are all 0: nothing would be learnt"),
    ({"label_smoothing": 0.1}, "with `loss: sparse_categorical_crossentropy`; choose categorical_crossentropy"),
    ({"label_smoothing": 0.1, "loss": "binary_crossentropy"}, "choose categorical_crossentropy"),
    (NUMBER | {"label_smoothing": 0.1}, "`label_smoothing` does not go with `task: regression`"),
    ({"test_time_augmentation": {}}, "asks for no copies: give rotation, zoom or shift"),
    (TWO | {"class_weights": [1.0, 1.0, 1.0]}, "has 3 numbers, expected 2: for the other labels, for `positive`"),
    ({"task": "two_class"}, "needs `positive`, the labels of the positive class"),
    ({"positive": [1]}, "`positive` goes with `task: two_class`, not with multiclass"),
    (TWO | {"positive": [1, 1]}, "got [1, 1], expected each label once"),
    ({"values": [1.0, 2.0]}, "`values` goes with `task: regression`, not with multiclass"),
    ({"skip": True}, "`skip` needs `form: functional`: a stack of layers has no branches"),
    ({"skip": True, "form": "functional", "units": []}, "`skip` leads past hidden dense layers, and `units` has none"),
    ({"units": [], "l2": 0.01}, "`l2` is of hidden layers, and `units` has none"),
    ({"units": [], "batch_normalisation": True}, "`batch_normalisation` is of hidden layers, and `units` has none"),
    ({"optimizer": {"name": "sgd", "nesterov": True}}, "looks ahead along the momentum, which is 0"),
    ({"optimizer": {"name": "adam", "schedule": {"name": "cosine", "factor": 0.5}}}, "`factor` goes with exponential"),
    (
        {"optimizer": {"name": "sgd", "decay": 0.1, "schedule": {"name": "cosine"}}},
        "`decay` and the schedule cosine both set the learning rate; choose one",
    ),
]
# Changes of the data set and of prepare, a model's settings, and what the sentence must say.
DATA = [
    ({}, {"crop": {"top": 4, "bottom": 8}}, {}, "prepare.crop cuts 4 and 8 rows off images that have 12"),
    ({}, {"crop": {"left": 10}}, {}, "prepare.crop cuts 10 and 0 columns off images that have 10; cut at most 9"),
    ({}, {}, {"network": "cnn", "filters": [4, 4, 4]}, "12x10 pixels nothing is left after convolution 3 of 3"),
    ({}, {"crop": {"top": 9}}, {"network": "conv1d", "filters": [4]}, "of images with 3x10 pixels nothing is left"),
    ({}, {}, {"network": "cnn", "filters": [4] * 4, "padding": "same"}, "after convolution 4 of 4"),
    ({}, {}, TWO | {"positive": [4]}, "`positive` has the label 4, expected 0 to 3, the labels of the data set"),
    ({}, {}, TWO | {"positive": [0, 1, 2, 3]}, "`positive` has all 4 labels: there would be nothing to tell apart"),
    ({}, {}, {"class_weights": [1.0, 1.0]}, "`class_weights` has 2 numbers, expected 4, one for each class"),
    ({}, {}, NUMBER | {"values": [1.0, 2.0]}, "`values` has 2 numbers, expected 4, one for each class"),
    ({"class_names": ["a", "b", "c"]}, {}, {}, "has 3 `class_names`, but `classes` is 4"),
    ({"class_names": ["a", "b", "b", "c"]}, {}, {}, "holds 'b' more than once"),
    ({"shape": [7, 10]}, {}, {}, "got [7, 10], expected [height, width] of 8 to 128 pixels"),
    ({"pixels": {"low": 1.0, "high": 1.0}}, {}, {}, "got low 1 and high 1, expected low below high"),
]


def refusals(model: dict[str, Any], dataset: dict[str, Any] | None = None, **prepare: Any) -> tuple[str, ...]:
    """The sentences with which params.yaml with this model is refused."""
    stated = {"title": "Tiny", "embedded": "digits", "shape": [12, 10], "classes": 4} | (dataset or {})
    network = model.get("network", "dense")
    content = {
        "dataset": "tiny",
        "datasets": {"tiny": stated},
        "prepare": prepare,
        "models": {"tried": settings(network) | model},
        "report": {},
    }
    with pytest.raises(ParamsError) as caught:
        check_params(content)
    return caught.value.mistakes


@pytest.mark.parametrize(("model", "sentence"), MODELS)
def test_impossible_pairs_are_refused(model: dict[str, Any], sentence: str) -> None:
    """One sentence names the model, what does not go together, why, and what to choose."""
    (said,) = refusals(model)
    assert said.startswith("models.tried")
    assert sentence in said


@pytest.mark.parametrize(("dataset", "prepare", "model", "sentence"), DATA)
def test_what_the_data_cannot_give_is_refused(
    dataset: dict[str, Any], prepare: dict[str, Any], model: dict[str, Any], sentence: str
) -> None:
    """Where the data set states its images and classes, what they are too small or too few for is refused at once."""
    (said,) = refusals(model, dataset, **prepare)
    assert sentence in said


def test_every_pair_is_allowed_or_explained() -> None:
    """Each loss with each task and output is in the table of what fits, or has a reason that says what to choose."""
    losses = {loss for fits in FITS.values() for loss in fits}
    outputs = {output for known in OUTPUTS.values() for output in known}
    for task, fits in FITS.items():
        for loss in losses:
            for output in outputs:
                reason = misfit(task, output, loss)
                allowed = loss in fits and output in fits[loss].outputs
                assert (reason is None) == allowed
                assert reason is None or "; choose " in reason


def test_all_losses_of_the_documents_are_known() -> None:
    """The fourteen losses that the documents list can be named."""
    assert len({loss for fits in FITS.values() for loss in fits}) == 14
