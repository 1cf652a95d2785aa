"""Small training data, written by the real stages, and models that learn them in seconds."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from stages.data.config import Dataset, Prepare
from stages.data.datasets import Arrays, describe, write_dataset
from stages.model.config import Model
from stages.prepare.prepare import prepare
from stages.samples.prepared import TrainingData, read_training_data
from stages.train.device import load_keras

load_keras()  # like the train stage: without scikit-learn and without log output

CLASSES = 4


class Folders(NamedTuple):
    """The output folders of the download stage and the prepare stage."""

    raw: Path
    prepared: Path

    @property
    def data(self) -> TrainingData:
        """The training data in the folder `prepared`."""
        return read_training_data(self.prepared)


def patterns(
    count: int, shape: tuple[int, ...] = (12, 14), seed: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns noise with a bright row whose position encodes the label: uint8 (count, *shape) and (count,)."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    images = random.integers(0, 120, (count, *shape), np.uint8)
    images[np.arange(count), 2 + 2 * labels.astype(int)] += 130
    return images, labels


def write_data(folder: Path, shape: tuple[int, ...] = (12, 14), **prepared: Any) -> Folders:
    """Writes and prepares a data set of 240 training and 60 test images; `prepared` as in params.yaml."""
    folders = Folders(folder / "raw", folder / "prepared")
    arrays = Arrays(*patterns(240, shape), *patterns(60, shape, seed=2))
    description = describe("patterns", Dataset.model_validate({"title": "Patterns", "embedded": "digits"}), arrays)
    write_dataset(folders.raw, arrays, description)
    prepare(folders.raw, folders.prepared, Prepare.model_validate({"validation": 0.25} | prepared))
    return folders


def settings(network: str = "dense", **changes: Any) -> dict[str, Any]:
    """Returns the section of a model in params.yaml."""
    required = {"cnn": {"filters": [4]}, "conv1d": {"filters": [8]}, "recurrent": {"recurrent_units": [12]}}
    return {
        "network": network,
        **required.get(network, {}),
        "units": [16],
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "batch_size": 15,  # divides the 180 training samples: a batch of another size costs another graph
        "epochs": 2,
        **changes,
    }


def make_model(network: str = "dense", **changes: Any) -> Model:
    """Returns the validated model of these settings."""
    model: Model = TypeAdapter(Model).validate_python(settings(network, **changes))
    return model


def write_params(path: Path, **models: Any) -> Path:
    """Writes a params.yaml with these models."""
    content = {
        "dataset": "patterns",
        "datasets": {"patterns": {"title": "Patterns", "embedded": "digits"}},
        "prepare": {},
        "models": models,
        "report": {},
    }
    path.write_text(json.dumps(content))
    return path
