"""Other names that people use for keys and values of a model, as Keras, PyTorch or tutorials have them.

A short form that can mean only one thing is taken: `optimizer: adam`, `loss: mse`. Another name of a key is answered
with the right key: one table for each.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

LOSSES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "kldivergence": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "cosine_proximity": "cosine_similarity",
}
METRICS = {
    **{name: LOSSES[name] for name in ("mse", "mae", "mape", "msle")},
    "acc": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "binary_accuracy": "accuracy",
    "rmse": "root_mean_squared_error",
    "f1": "f1_score",
    "r2": "r2_score",
    "logcosh": "log_cosh_error",
    "log_cosh": "log_cosh_error",
    "top_k": "top_k_categorical_accuracy",
    "top_k_accuracy": "top_k_categorical_accuracy",
    "sparse_top_k_categorical_accuracy": "top_k_categorical_accuracy",
}
NAMES = {"loss": LOSSES, "metrics": METRICS, "activation": {"linear": "none", "re_lu": "relu"}, "initializer": {}}
NAMED = ("optimizer", "schedule", "constraint")  # sections with a name, for which the name alone is enough
LISTS = ("units", "filters", "recurrent_units", "metrics")  # lists, for which a single entry is enough

OF_THE_OPTIMIZER = (
    "momentum", "nesterov", "decay", "weight_decay", "global_clipnorm",
)  # fmt: skip
# The right key for each other name; a key with a dot is in another section.
RIGHT_KEYS: dict[str, tuple[str, ...]] = {
    "optimizer": ("opt", "optimiser"),
    **{f"optimizer.{key}": (key,) for key in OF_THE_OPTIMIZER},
    "optimizer.learning_rate": ("learning_rate", "lr", "learn_rate", "learningrate"),
    "optimizer.schedule": (
        "schedule",
        "lr_schedule",
        "learning_rate_schedule",
        "scheduler",
        "lr_scheduler",
        "reduce_on_plateau",
        "reduce_lr_on_plateau",
    ),
    "optimizer.beta_1": ("beta_1", "beta1", "betas"),
    "optimizer.beta_2": ("beta_2", "beta2"),
    "optimizer.clipnorm": ("clipnorm", "clip_norm", "max_grad_norm"),
    "optimizer.clipvalue": ("clipvalue", "clip_value"),
    "early_stopping.patience": ("patience",),
    "early_stopping.min_delta": ("min_delta",),
    "prepare.validation": ("validation", "validation_split", "val_split"),
    "units": ("layers", "hidden", "hidden_layers", "hidden_units", "neurons", "nodes", "dense_units", "hidden_size"),
    "recurrent_units": ("rnn_units", "lstm_units", "gru_units"),
    "cell": ("rnn", "cell_type"),
    "filters": ("channels", "conv_filters", "conv_layers"),
    "kernel_size": ("kernel", "kernel_sizes"),
    "pool_size": ("pool", "pooling"),
    "batch_size": ("batch", "batchsize", "minibatch", "mini_batch_size", "bs"),
    "epochs": ("n_epochs", "num_epochs", "max_epochs", "nb_epoch", "iterations"),
    "activation": ("act", "activation_function", "nonlinearity"),
    "loss": ("loss_function", "loss_fn", "criterion", "objective"),
    "dropout": ("drop_out", "dropout_rate", "drop", "dropouts"),
    "batch_normalisation": ("bn", "batchnorm", "batch_norm", "batch_normalization"),
    "l1 or l2": ("regularizer", "kernel_regularizer", "regularization", "regularisation"),
    "initializer": ("init", "initialiser", "kernel_initializer", "kernel_init"),
    "constraint": ("kernel_constraint", "max_norm"),
    "output: logits": ("from_logits",),
    "class_weights": ("class_weight",),
    "seed": ("random_state", "random_seed"),
    "augmentation": ("augment", "data_augmentation"),
    "keep: best": ("restore_best_weights", "save_best_only"),
    "precision": ("dtype", "mixed_precision", "dtype_policy"),
}
RIGHT_KEYS_OF_OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "name": ("type", "algorithm"),
    "learning_rate": ("lr", "learn_rate", "rate"),
    "schedule": ("lr_schedule", "learning_rate_schedule", "scheduler", "lr_scheduler"),
    "beta_1": ("beta1", "betas", "beta"),
    "beta_2": ("beta2",),
    "clipnorm": ("clip_norm", "max_grad_norm"),
    "clipvalue": ("clip_value",),
}


def with_full_forms(content: Any, known: Iterable[str]) -> Any:
    """Returns the content of a model's section with its short forms written out.

    Args:
        content: the section, as parsed.
        known: the keys of the section.

    Raises:
        ValueError: a key has another name here, or a value another form; a clause for each.
    """
    if not isinstance(content, Mapping):
        return content
    messages = _other_names(content, set(known), RIGHT_KEYS)
    rates, stopping = content.get("dropout"), content.get("early_stopping")
    if isinstance(rates, list):
        messages.append(f"`dropout` is the list {rates}, expected one rate for all hidden dense layers, such as 0.2")
    if isinstance(stopping, int) and "early_stopping" in known:
        messages.append(f"`early_stopping` is {str(stopping).lower()}, expected keys, such as {{patience: 3}}")
    if messages:
        raise ValueError("; ".join(messages))
    return {key: _full_form(key, value) for key, value in content.items()}


def optimizer_with_full_forms(content: Any) -> Any:
    """Returns the content of an optimizer's section with its short forms written out, as `with_full_forms` does."""
    if not isinstance(content, Mapping):
        return content
    if messages := _other_names(content, {"learning_rate", *RIGHT_KEYS_OF_OPTIMIZERS}, RIGHT_KEYS_OF_OPTIMIZERS):
        raise ValueError("; ".join(messages))
    return {key: _full_form(key, value) for key, value in content.items()}


def _other_names(content: Mapping[Any, Any], known: set[str], right: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Returns a clause for each key of `content` that is not `known` and is another name for a key of `right`."""
    keys = {other: key for key, others in right.items() for other in others}
    messages = []
    for name in content:
        key = keys.get(str(name).lower())
        first = re.split(r"[.: ]", key)[0] if key else ""
        if key and name not in known and (first in known or first == "prepare"):
            messages.append(f"`{name}`: unknown key, use {' or '.join(f'`{part}`' for part in key.split(' or '))}")
    return messages


def _full_form(key: Any, value: Any) -> Any:
    if key in NAMED:
        return _named(key, {"name": value} if isinstance(value, str) else value)
    if key in LISTS and isinstance(value, str | int) and not isinstance(value, bool):
        value = [value]
    if key not in NAMES:
        return value
    return [_name(key, entry) for entry in value] if isinstance(value, list) else _name(key, value)


def _named(key: str, section: Any) -> Any:
    """Returns the section with its name in lower case, as Keras writes it: `Adam` is adam, `MaxNorm` is max_norm."""
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str) or ":" in section["name"]:
        return section
    name = section["name"]
    return {**section, "name": name.lower() if key == "optimizer" else _snake_case(name)}


def _name(key: str, value: Any) -> Any:
    if value is None and key == "activation":
        return "none"
    if not isinstance(value, str) or ":" in value:
        return value
    name = _snake_case(value)
    return NAMES[key].get(name, name)


def _snake_case(name: str) -> str:
    """Returns Keras's class name as its function name: `MeanSquaredError` is mean_squared_error."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def accept_short_forms(schema: Any) -> Any:
    """Returns the JSON schema with short forms and own code allowed, so that an editor does not mark them."""
    if isinstance(schema, list):
        return [accept_short_forms(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: accept_short_forms(value) for key, value in schema.items()}
    if isinstance(properties := result.get("properties"), dict) and (
        "optimizer" in properties or "beta_1" in properties
    ):
        for key in {*NAMED, *LISTS, *NAMES, "name"} & properties.keys():
            short = {"type": "integer" if key in LISTS and key != "metrics" else "string"}
            about = {name: properties[key].pop(name) for name in ("description", "default") if name in properties[key]}
            properties[key] = {"anyOf": [properties[key], short], **about}
    return result
