"""Parameters that make scores of trials incomparable: other loss functions, other validation samples."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from flows.core.params_edit import PATH
from flows.experiments.settings import split_key

LOSS_KEYS = {"loss", "label_smoothing", "l1", "l2"}  # parameters that give losses other values
PENALTIES = {"l1", "l2"}  # Keras adds them to the loss; with other libraries the validation loss has none
# Parameters of Inkflow's own pipeline that choose the validation samples, and those of a model that say what is learnt.
SAMPLE_KEYS = ("dataset", "datasets", "prepare.samples", "prepare.validation", "prepare.held_out", "prepare.seed")
TARGET_KEYS = ("task", "positive", "values")


def changing_loss(keys: Collection[str], names: AbstractSet[str] = LOSS_KEYS) -> list[str]:
    """Returns those of the parameters `keys`, such as `a.loss` or `FILE:a.loss`, whose last part is in `names`."""
    return [key for key in keys if split_key(key)[1].rpartition(".")[2] in names]


def changing_samples(keys: Collection[str]) -> list[str]:
    """Returns those of the parameters `keys` of Inkflow's own pipeline that change what validation scores are of.

    That are the validation samples, or what a model has to tell of them. Sections of the samples change them as their
    keys do, and the elements of a list as the list. A whole section of a model, such as `models.dense`, does not count:
    its values rarely differ in `task`, `positive` and `values`.
    """
    found = []
    for key in keys:
        file, inner = split_key(key)
        section, *names = inner.split(".")
        overlaps = (f"{inner}.".startswith(f"{name}.") or f"{name}.".startswith(f"{inner}.") for name in SAMPLE_KEYS)
        is_target = section == "models" and names[1:2] and names[1] in TARGET_KEYS
        if file == str(PATH) and (is_target or any(overlaps)):
            found.append(key)
    return found
