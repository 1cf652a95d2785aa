"""Short forms and other names in a model's section: taken where certain, else answered with the right key."""

from typing import Any

import pytest
from pydantic import ValidationError

from stages.base.validation_messages import error_messages
from stages.model.config import Model
from tests.support.learning import make_model

TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"optimizer": "adam"}, {"optimizer": {"name": "adam"}}),
    ({"optimizer": "RMSprop"}, {"optimizer": {"name": "rmsprop"}}),
    (
        {"optimizer": {"name": "AdamW", "schedule": "cosine"}},
        {"optimizer": {"name": "adamw", "schedule": {"name": "cosine"}}},
    ),
    ({"task": "regression", "loss": "mse"}, {"task": "regression", "loss": "mean_squared_error"}),
    ({"task": "regression", "loss": "MAE"}, {"task": "regression", "loss": "mean_absolute_error"}),
    ({"loss": "CategoricalCrossentropy"}, {"loss": "categorical_crossentropy"}),
    ({"loss": "KLDivergence"}, {"loss": "kl_divergence"}),
    ({"metrics": "AUC"}, {"metrics": ["auc"]}),
    ({"metrics": ["acc", "Precision", "F1Score"]}, {"metrics": ["accuracy", "precision", "f1_score"]}),
    (
        {"task": "regression", "metrics": ["mae", "rmse"]},
        {"task": "regression", "metrics": ["mean_absolute_error", "root_mean_squared_error"]},
    ),
    ({"units": 64}, {"units": [64]}),
    ({"activation": "linear"}, {"activation": "none"}),
    ({"activation": None}, {"activation": "none"}),
    ({"activation": "ReLU"}, {"activation": "relu"}),
    ({"initializer": "HeNormal"}, {"initializer": "he_normal"}),
    ({"constraint": "MaxNorm"}, {"constraint": {"name": "max_norm"}}),
]


@pytest.mark.parametrize(("short", "full"), TAKEN, ids=[str(short) for short, _ in TAKEN])
def test_short_forms_are_taken(short: dict[str, Any], full: dict[str, Any]) -> None:
    """A short form that can mean only one thing gives the same model as the full form."""
    assert make_model(**short) == make_model(**full)


ANSWERED: list[tuple[dict[str, Any], str]] = [
    ({"lr": 0.1}, "`lr`: unknown key, use `optimizer.learning_rate`"),
    ({"learning_rate": 0.1}, "`learning_rate`: unknown key, use `optimizer.learning_rate`"),
    ({"lr_schedule": "cosine"}, "`lr_schedule`: unknown key, use `optimizer.schedule`"),
    ({"schedule": "cosine"}, "`schedule`: unknown key, use `optimizer.schedule`"),
    (
        {"beta_1": 0.5, "momentum": 0.9},
        "`beta_1`: unknown key, use `optimizer.beta_1`; `momentum`: unknown key, use `optimizer.momentum`",
    ),
    ({"layers": [64]}, "`layers`: unknown key, use `units`"),
    ({"hidden": 64}, "`hidden`: unknown key, use `units`"),
    ({"batch": 32}, "`batch`: unknown key, use `batch_size`"),
    ({"kernel_regularizer": "l2"}, "`kernel_regularizer`: unknown key, use `l1` or `l2`"),
    ({"batch_normalization": True}, "`batch_normalization`: unknown key, use `batch_normalisation`"),
    ({"validation_split": 0.1}, "`validation_split`: unknown key, use `prepare.validation`"),
    ({"patience": 3}, "`patience`: unknown key, use `early_stopping.patience`"),
    (
        {"dropout": [0.2, 0.5]},
        "`dropout` is the list [0.2, 0.5], expected one rate for all hidden dense layers, such as 0.2",
    ),
    ({"early_stopping": 3}, "`early_stopping` is 3, expected keys, such as {patience: 3}"),
    ({"early_stopping": True}, "`early_stopping` is true, expected keys, such as {patience: 3}"),
    ({"optimizer": {"name": "adam", "lr": 0.1}}, "optimizer: `lr`: unknown key, use `learning_rate`"),
    ({"optimizer": {"type": "adam"}}, "optimizer: `type`: unknown key, use `name`"),
    ({"from_logits": True}, "`from_logits`: unknown key, use `output: logits`"),
]


@pytest.mark.parametrize(("section", "sentence"), ANSWERED, ids=[str(section) for section, _ in ANSWERED])
def test_other_names_are_answered(section: dict[str, Any], sentence: str) -> None:
    """Another name of a key is answered with the right key, in one sentence."""
    with pytest.raises(ValidationError) as refused:
        make_model(**section)
    assert error_messages(refused.value, Model) == [sentence]


@pytest.mark.parametrize(
    ("section", "beginning"),
    [
        ({"optimizer": "adem"}, "optimizer.name: got 'adem', expected one of"),
        ({"loss": "msee"}, "loss: got 'msee', expected one of"),
        ({"optimizer": 3}, "optimizer: got 3, expected keys with values"),
        ({"filters": [3]}, "filters: unknown key; allowed:"),
        ({"channels": [3]}, "channels: unknown key; allowed:"),
        ({"units": "64"}, "units.0: got '64', expected a whole number"),
    ],
)
def test_other_mistakes_are_found(section: dict[str, Any], beginning: str) -> None:
    """What is no short form is refused as before; a key of another kind of network is not recommended."""
    with pytest.raises(ValidationError) as refused:
        make_model(**section)
    (sentence,) = error_messages(refused.value, Model)
    assert sentence.startswith(beginning)
