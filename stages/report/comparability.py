"""Parameters that make validation scores incomparable: other losses, other validation samples, other targets.

The report, the page over all versions, `inkflow compare` and `inkflow sweep` all go by these.
"""

from collections.abc import Mapping
from typing import Any

NETWORK_KEYS = ("build", "arguments")  # of an own network, which may have penalties of its own
PENALTIES = ("l1", "l2")  # Keras adds them to the loss; with other libraries the validation loss has none
LOSS_KEYS = ("loss", "label_smoothing", *PENALTIES, *NETWORK_KEYS)  # of a model: they give losses other values
DATA_KEYS = ("dataset", "datasets")
# Parameters that choose the validation samples of a data set, and those of a model that say what it learns of them; the
# values are those where params.yaml lacks the key.
SPLIT: Mapping[str, Any] = {
    "prepare.samples": None,
    "prepare.validation": 0.1,
    "prepare.held_out": "random",
    "prepare.seed": 0,
}
TARGETS: Mapping[str, Any] = {"task": "multiclass", "positive": None, "values": None}
