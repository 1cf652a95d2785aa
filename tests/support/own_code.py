"""Own Keras code in the folder `custom` of a test's project, and models that use it."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from stages.model.config import CustomModel, Model
from tests.support.learning import Folders, settings

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks, training_model  # noqa: E402  (import Keras)

SHAPE = (12, 14, 1)  # of the images of tests.support.learning


def write_code(project: Path, code: str) -> None:
    """Writes the module `custom.own`."""
    (project / "custom").mkdir(exist_ok=True)
    (project / "custom/__init__.py").touch()
    imports = "import keras\nfrom keras import layers, ops\n"
    (project / "custom/own.py").write_text(imports + textwrap.dedent(code))


def own_model(**changes: Any) -> CustomModel:
    """Returns a model with the network of `custom.own:build`."""
    changes = {"network": "custom", "build": "custom.own:build"} | changes
    content = {key: value for key, value in settings().items() if key != "units"} | changes
    return CustomModel.model_validate(content)


DENSE = """
def build(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes, activation="softmax")])
"""


def learn(folders: Folders, model: Model) -> list[list[float]]:
    """Trains the model and returns the lines of its history."""
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    trained = training_model.build_training_model(network, model)
    fit.compile_network(trained, model, len(data.train.labels))
    return [list(epoch) for epoch in fit.fit(trained, data, "mine", model).history]
