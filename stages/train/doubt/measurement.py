"""Measures the doubt of a trained network on the images that it was trained on and validated with."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import special

from stages.model.compatibility import OutputName, TaskName
from stages.model.config import ModelBase
from stages.model.doubt import Doubt
from stages.model.reference import Reference
from stages.model.tasks import task_of
from stages.samples.prepared import Part, TrainingData
from stages.train.augmentation.test_time import AUGMENTED
from stages.train.doubt.calibration import Calibration, class_logits, fit_temperature, two_logits
from stages.train.doubt.reference import measure_reference
from stages.train.doubt.thresholds import choose_thresholds
from stages.train.doubt.unlikeness import MAX_FEATURES, Unlikeness, fit_unlikeness

TRAIN_SAMPLES, VALIDATION_SAMPLES = 10_000, 20_000  # at most, evenly spaced: more cost time and change little
BATCH = 1000
KNOWN_ACTIVATIONS = (keras.activations.sigmoid, keras.activations.softmax, keras.activations.linear)
EPSILON = 1e-7  # about the distance from 1 to the next lower float32

Floats = NDArray[np.float64]


class Outputs(NamedTuple):
    """What a network says of images: its result, and features and logits (n, classes) of its last layer, if known.

    `are_own` is whether the logits belong to the result, which is a mean over images in test-time augmentation.
    """

    result: Any
    features: Any = None
    logits: Any = None
    are_own: bool = True

    def to_calibrate(self, task: TaskName, output: OutputName, ops: Any) -> Any:
        """Returns the logits (n, classes) that the temperature divides, or None; `output` is what the result is."""
        if task == "multiclass":
            return class_logits(self.result, output == "logits", ops)
        if output == "logits":
            return two_logits(self.result, ops)
        return self.logits if self.are_own else None


class MeasuredDoubt(NamedTuple):
    """The doubt of a network: its calibration, the thresholds, and the measure of unlikeness, if it has one.

    The `reference` is that of the validation samples; None without them.
    """

    calibration: Calibration
    doubt: Doubt
    unlikeness: Unlikeness | None = None
    reference: Reference | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the content for another process."""
        unlikeness = self.unlikeness.to_lists() if self.unlikeness else None
        facts = {"calibration": self.calibration, "doubt": self.doubt.__dict__, "unlikeness": unlikeness}
        return facts | {"reference": asdict(self.reference) if self.reference else None}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Returns what `to_json` has written."""
        temperature, *lists = content["doubt"].values()
        doubt = Doubt(temperature, *map(tuple, lists))
        unlikeness = Unlikeness.from_lists(content["unlikeness"]) if content["unlikeness"] else None
        reference = Reference.from_content(content["reference"]) if content["reference"] else None
        return cls(Calibration(*content["calibration"]), doubt, unlikeness, reference)


def measure_doubt(
    network: Any, model: ModelBase, data: TrainingData, *, has_unlikeness: bool = True
) -> MeasuredDoubt | None:
    """Returns the doubt of `network`, trained as `model` on `data`; a regression has no probabilities, so no doubt.

    Without `has_unlikeness` there is no measure of the unlikeness, and thresholds and reference are without it.
    """
    if model.task == "regression":
        return None
    task, (train, train_labels) = task_of(model), _run(network, model, data.train, TRAIN_SAMPLES)
    unlikeness = None
    if has_unlikeness and train.features is not None:
        unlikeness = fit_unlikeness(train.features, train.logits, task.task_labels(train_labels))
    if not len(data.validation.labels):
        return MeasuredDoubt(Calibration(note="not calibrated: there are no validation images"), Doubt(), unlikeness)
    validation, labels = _run(network, model, data.validation, VALIDATION_SAMPLES)
    logits = validation.to_calibrate(model.task, model.output, np)
    calibration = Calibration(note="not calibrated: the network has no logits")
    if logits is None:  # a mean of sigmoids: near 1 a float32 is too coarse for its logit
        logits = two_logits(special.logit(np.clip(validation.result, EPSILON, 1 - EPSILON)), np)
    else:
        calibration = fit_temperature(logits, task.task_labels(labels))
    scaled = (logits - logits.max(axis=1, keepdims=True)) / calibration.temperature
    probability = 1 / np.exp(scaled).sum(axis=1)  # of the most probable class
    probabilities = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    measured = unlikeness.measure_all(validation.features, validation.logits) if unlikeness else None
    doubt = choose_thresholds(calibration.temperature, probability, measured)
    images = _batches(data.validation, _rows(len(data.validation.labels), VALIDATION_SAMPLES))
    reference = measure_reference(probabilities, measured, images, data.prepared, doubt)
    return MeasuredDoubt(calibration, doubt, unlikeness, reference)


def outputs_of(network: Any, task: TaskName, images: Any) -> Outputs:
    """Returns the outputs of `network` for `images`, an array or the input of a Keras model.

    With test-time augmentation, features and logits are those of the image itself. A network that does not end in a
    dense layer on features (n, d) has none.
    """
    is_augmented = network.name.endswith(AUGMENTED)  # networks of own code may have networks as layers, too
    inner = next(layer for layer in network.layers if hasattr(layer, "layers")) if is_augmented else network
    head = inner.layers[-1]
    if not _is_last_layer(head, inner):
        return Outputs(network(images, training=False), are_own=False)
    kernel, bias = head.get_weights()
    logits = keras.ops.matmul(head.input, kernel) + bias
    logits = two_logits(logits, keras.ops) if task == "two_class" else logits
    is_small = head.input.shape[-1] <= MAX_FEATURES
    parts = keras.Model(inner.inputs[0], [inner.outputs[0], logits, *([head.input] if is_small else [])])
    result, logits, *rest = parts(images, training=False)
    features = rest[0] if rest else None
    return Outputs(result if inner is network else network(images, training=False), features, logits, inner is network)


def _is_last_layer(head: Any, network: Any) -> bool:
    """Returns whether `head` is a dense layer on features (n, d), called once, whose output is that of `network`."""
    return (
        isinstance(head, keras.layers.Dense)
        and head.use_bias
        and head.activation in KNOWN_ACTIVATIONS
        and len(head._inbound_nodes) == 1
        and head.output is network.outputs[0]
        and getattr(head.input, "ndim", 0) == 2
    )


def as_arrays(outputs: Outputs) -> Outputs:
    """Returns `outputs` as float64 arrays."""
    result, features, logits = (
        None if part is None else np.asarray(keras.ops.convert_to_numpy(part), np.float64) for part in outputs[:3]
    )
    return Outputs(result, features, logits, outputs.are_own)


def _run(network: Any, model: ModelBase, part: Part, samples: int) -> tuple[Outputs, NDArray[np.int64]]:
    """Returns the outputs for at most `samples` images of `part`, as float64, and their labels."""
    rows = _rows(len(part.labels), samples)
    batches = [as_arrays(outputs_of(network, model.task, images)) for images in _batches(part, rows)]
    result, features, logits = (
        None if values[0] is None else np.concatenate(values) for values in list(zip(*batches, strict=True))[:3]
    )
    return Outputs(result, features, logits, batches[0].are_own), part.labels[rows]


def _rows(count: int, samples: int) -> NDArray[np.int64]:
    """Returns the indices of at most `samples` of `count` samples, evenly spaced."""
    return np.arange(count) if count <= samples else np.linspace(0, count - 1, samples).round().astype(np.int64)


def _batches(part: Part, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Yields the images of `rows` (n,), BATCH at a time."""
    yield from (part.images[rows[start : start + BATCH]] for start in range(0, len(rows), BATCH))
