"""A small model with a reference, and a watcher of it, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from stages.model.doubt import METADATA as DOUBT
from stages.model.doubt import Doubt
from stages.model.reference import METADATA, Reference
from stages.samples.image_statistics import STATISTICS, image_statistics
from stages.train.doubt.reference import distribution
from tests.support.pictures import template, write_reader

CLASSES = 10


def digits(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns printed digits (count, 28, 28) of random brightness, all classes alike."""
    random = np.random.default_rng(seed)
    templates = np.stack([template(digit) for digit in range(CLASSES)])
    chosen = templates[random.permutation(np.arange(count) % CLASSES)]
    return np.asarray((chosen * random.uniform(0.7, 1.0, (count, 1, 1))).round(), np.uint8)


def write_watched_reader(path: Path, samples: int = 2000, reference: dict[str, Any] | None = None) -> Path:
    """Writes the model `reader` with a reference of printed digits; `reference` replaces parts of it."""
    write_reader(path)
    pixels = digits(samples, 1).astype(np.float32)
    session = onnxruntime.InferenceSession(path)
    probabilities = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    values = dict(zip(STATISTICS, image_statistics(pixels).T, strict=True))
    values["confidence"] = probabilities.max(axis=1).astype(np.float64)
    counts = tuple(np.bincount(probabilities.argmax(axis=1), minlength=CLASSES).tolist())
    found = Reference(
        samples,
        counts,
        (samples // 100,),
        statistics={key: distribution(item.round(4)) for key, item in values.items()},
    )
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata |= {METADATA: found.to_json(), DOUBT: Doubt(1.0, (0.99,), (0.2,)).to_json()}
    helper.set_model_props(model, metadata | (reference or {}))
    onnx.save(model, path)
    return path
