"""Searched parameters that make scores of trials incomparable: other loss functions, other validation samples."""

from collections.abc import Collection

from flows.core.params_edit import PATH
from flows.experiments.settings import split_key
from stages.params.comparability import DATA_KEYS, LOSS_KEYS, NETWORK_KEYS, PENALTIES, SPLIT, TARGETS

SAMPLE_KEYS = (*DATA_KEYS, *SPLIT)


def changing_loss(keys: Collection[str], *, is_own: bool = True) -> list[str]:
    """Returns those of the parameters `keys` that give losses other values.

    Args:
        keys: parameters, such as `a.loss` or `FILE:a.loss`, of which the last part counts; of an own network of
            Inkflow's own pipeline also `models.NAME.build`, `models.NAME.arguments`, and what is below them.
        is_own: whether the project is Inkflow's own pipeline; in others, penalties are no part of the validation loss.
    """
    names = set(LOSS_KEYS).difference(NETWORK_KEYS, () if is_own else PENALTIES)
    networks = NETWORK_KEYS if is_own else ()
    return [key for key in keys if split_key(key)[1].rpartition(".")[2] in names or _of_model(key, networks)]


def changing_samples(keys: Collection[str]) -> list[str]:
    """Returns those of the parameters `keys` of Inkflow's own pipeline that change what validation scores are of.

    That are the validation samples, or what a model has to tell of them. Sections of the samples change them as their
    keys do, and the elements of a list as the list. A whole section of a model, such as `models.dense`, does not count:
    its values rarely differ in `task`, `positive` and `values`.
    """
    found = []
    for key in keys:
        file, inner = split_key(key)
        overlaps = (f"{inner}.".startswith(f"{name}.") or f"{name}.".startswith(f"{inner}.") for name in SAMPLE_KEYS)
        if _of_model(key, TARGETS) or (file == str(PATH) and any(overlaps)):
            found.append(key)
    return found


def _of_model(key: str, names: Collection[str]) -> bool:
    """Returns whether `key` is one of `names` in the section of a model, or below it."""
    file, inner = split_key(key)
    section, *rest = inner.split(".")
    return file == str(PATH) and section == "models" and len(rest) > 1 and rest[1] in names
