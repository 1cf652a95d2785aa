"""Exported model files: correct without Keras, in agreement with it, and equal bytes for equal weights."""

import itertools
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from stages.base.errors import InkflowError
from stages.model.config import Model
from stages.model.tasks import Task
from stages.predict.classifier import open_classifier
from stages.samples.picture_form import PictureForm
from stages.samples.pixels import Pixels
from stages.samples.prepared import Prepared
from stages.train.export.canonical_onnx import canonical_onnx
from tests.support.learning import Folders, make_model, write_data

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks  # noqa: E402  (import Keras)
from stages.train.export import model_files  # noqa: E402  (import Keras)

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def untrained(folders: Folders, model: Model) -> Any:
    """Returns a network with random weights and biases, so that an ignored bias is noticed."""
    prepared = folders.data.prepared
    network = networks.build(model, prepared.shape, prepared.classes)
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.3, weight.shape) for weight in network.get_weights()])
    return network


def predict(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """Returns the probabilities of an exported model."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    result: NDArray[Any] = session.run(["probabilities"], {"pixels": pixels.astype(np.float32)})[0]
    return result


def by_hand(network: Any, pixels: NDArray[Any], mean: Any, deviation: Any) -> NDArray[Any]:
    """Returns the probabilities of a network with one hidden layer for cropped pixels, computed by NumPy in float64."""
    first, first_bias, last, last_bias = (np.asarray(weight, np.float64) for weight in network.get_weights())
    values = ((pixels - mean) / deviation).reshape(len(pixels), -1)
    values = np.maximum(values @ first + first_bias, 0) @ last + last_bias
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    result: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
    return result


GREY, COLOUR = (12, 14), (12, 14, 3)
CASES = [
    (GREY, "softmax", "unit"),  # each value is in one of the first two, which `make test` tries
    (COLOUR, "logits", "standard"),
    (GREY, "logits", "standard"),
    (COLOUR, "softmax", "standard"),
    (COLOUR, "logits", "unit"),
    (GREY, "softmax", "standard"),
    (GREY, "logits", "unit"),
    (COLOUR, "softmax", "unit"),
]


@pytest.mark.cases(2)
@pytest.mark.parametrize(("shape", "output", "normalise"), CASES)
def test_raw_pixels_in_probabilities_out(tmp_path: Path, shape: tuple[int, ...], output: str, normalise: str) -> None:
    """The model contains crop, normalisation, reshape and softmax: NumPy computes the same from the raw pixels."""
    crop = {"top": 1, "bottom": 2, "left": 3, "right": 4}
    folders = write_data(tmp_path, shape, crop=crop, normalise=normalise)
    model = make_model(output=output)
    network = untrained(folders, model)
    prepared = folders.data.prepared
    model_files.save_onnx(network, prepared, model, tmp_path / "model.onnx")
    with np.load(folders.raw / "dataset.npz") as arrays:
        pixels, training_pixels = arrays["x_test"], arrays["x_train"]
    mean, deviation = (0.0, 255.0) if normalise == "unit" else (prepared.offset, prepared.scale)
    assert abs(mean - training_pixels[:, 1:-2, 3:-4].mean()) < 2 or normalise == "unit"
    expected = by_hand(network, pixels[:, 1:-2, 3:-4].astype(np.float64), mean, deviation)
    assert np.abs(predict(tmp_path / "model.onnx", pixels) - expected).max() < 1e-5


@pytest.mark.cases(1)  # test_train.py trains a CNN with logits
@pytest.mark.parametrize("output", ["softmax", "logits"])
def test_export_agrees_with_keras(tmp_path: Path, output: str) -> None:
    """The ONNX file of a CNN on cropped, standardised images agrees with Keras, for any number of images."""
    folders = write_data(tmp_path, crop={"top": 1, "left": 2}, normalise="standard")
    model = make_model("cnn", output=output, dropout=0.3)
    network = untrained(folders, model)
    path, prepared = tmp_path / "model.onnx", folders.data.prepared
    model_files.save_onnx(network, prepared, model, path)
    images = folders.data.validation.images[:]
    assert model_files.check_agreement(network, path, images, prepared, model) <= model_files.TOLERANCE
    assert predict(path, np.zeros((1, 12, 14))).shape == (1, 4)
    assert predict(path, np.zeros((7, 12, 14))).shape == (7, 4)


NAMES = ("ant", "bee", "cät", "dog")


class Exported(NamedTuple):
    """An exported network, for images of -1 to 1 and classes with NAMES."""

    folders: Folders
    network: Any
    prepared: Prepared
    path: Path


@pytest.fixture(scope="module")
def exported(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A dense network and its ONNX file, which tests do not change."""
    path, network = tmp_path_factory.mktemp("exported") / "m.onnx", untrained(folders, make_model())
    form = PictureForm(background="dark")
    changes = {"class_names": NAMES, "pixels": Pixels(low=-1, high=1), "picture_form": form}
    prepared = folders.data.prepared.model_copy(update=changes)
    model_files.save_onnx(network, prepared, make_model(), path)
    return Exported(folders, network, prepared, path)


def test_names_and_shapes_of_input_and_output(exported: Exported) -> None:
    """The model has one input `pixels` of the raw shape and one output `probabilities`, for any batch size."""
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(exported.path)
    tensors = [(tensor.name, tensor.type, tensor.shape) for tensor in (*session.get_inputs(), *session.get_outputs())]
    assert tensors == [
        ("pixels", "tensor(float)", ["batch", 12, 14]),
        ("probabilities", "tensor(float)", ["batch", 4]),
    ]


def test_model_carries_facts_of_its_data_set(exported: Exported) -> None:
    """The ONNX file contains the class names, the range of pixels, the form of pictures and the task."""
    metadata = onnxruntime.InferenceSession(exported.path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(NAMES)
    assert json.loads(metadata["pixels"]) == {"low": -1, "high": 1}
    assert json.loads(metadata["picture_form"]) == {"conversion": "stretch", "background": "dark"}
    classifier = open_classifier(exported.path)
    assert (classifier.class_names, classifier.pixel_range) == (NAMES, (-1, 1))
    assert classifier.picture_form == exported.prepared.picture_form
    of_mnist = exported.prepared.model_copy(update={"picture_form": None})
    assert set(metadata) - set(model_files.dataset_metadata(of_mnist)) == {"picture_form", "inkflow.task"}


def test_difference_is_refused(exported: Exported) -> None:
    """An exported model that differs from the trained one is refused."""
    images, network = exported.folders.data.validation.images[:], untrained(exported.folders, make_model())
    model_files.check_agreement(network, exported.path, images, exported.prepared, make_model())
    network.set_weights([weight * 1.01 for weight in network.get_weights()])
    with pytest.raises(InkflowError, match=r"differ by .* from those of Keras, expected at most 1e-05"):
        model_files.check_agreement(network, exported.path, images, exported.prepared, make_model())


NETWORKS: dict[str, dict[str, Any]] = {
    "cnn": {"network": "cnn"},
    "conv1d": {"network": "conv1d"},
    **{cell: {"network": "recurrent", "cell": cell} for cell in ("simple_rnn", "lstm", "gru")},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "cnn" else pytest.mark.farm) for name in NETWORKS]
)
def test_equal_weights_give_equal_bytes(tmp_path: Path, name: str) -> None:
    """Exports of two equal networks in one process have equal bytes; other weights give other bytes."""
    folders = write_data(tmp_path)
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        model = make_model(**NETWORKS[name], seed=seed)
        network = networks.build(model, folders.data.prepared.shape, 4)
        fit.compile_network(network, model, 240)
        model_files.save_keras(network, tmp_path / f"{number}.keras")
        model_files.save_onnx(network, folders.data.prepared, make_model(), tmp_path / f"{number}.onnx")
        contents.append([(tmp_path / f"{number}.{kind}").read_bytes() for kind in ("keras", "onnx")])
    assert contents[0] == contents[1]
    assert contents[0][0] != contents[2][0]
    assert contents[0][1] != contents[2][1]


def test_keras_file_has_no_date(tmp_path: Path) -> None:
    """The .keras file has no date, no times of zip entries and no memory addresses, and Keras loads it."""
    folders = write_data(tmp_path)
    network, path = untrained(folders, make_model()), tmp_path / "model.keras"
    model_files.save_keras(network, path)
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"1980-01-01@00:00:00" in archive.read("metadata.json")
        assert b'"shared_object_id": 0' in archive.read("config.json")
    loaded = keras.saving.load_model(path)
    images = folders.data.validation.images[:]
    assert np.array_equal(np.asarray(loaded(images)), np.asarray(network(images)))


def test_values_of_inner_graphs_are_renamed(tmp_path: Path) -> None:
    """Values that inner graphs read from outside get the new names too: the model computes the same."""
    kind = TensorProto.FLOAT
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(operation, ["shared", "shared"], [f"r_{name}"])],
            name,
            [],
            [helper.make_tensor_value_info(f"r_{name}", kind, None)],
        )
        for name, operation in (("then", "Add"), ("else", "Mul"))
    }
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "three"], ["shared"]),
            helper.make_node("If", ["yes"], ["y"], **branches),
        ],
        "odd__17",
        [helper.make_tensor_value_info("x", kind, ["unk__1", 2])],
        [helper.make_tensor_value_info("y", kind, ["unk__2", 2])],
        [
            helper.make_tensor("three", kind, [1], [3.0]),
            helper.make_tensor("yes", TensorProto.BOOL, [1], [True]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(canonical_onnx(model, Task()).SerializeToString())
    assert predict(tmp_path / "m.onnx", np.array([[1.0, 2.0]])).tolist() == [[6.0, 12.0]]
    inner = [node.output[0] for attribute in model.graph.node[1].attribute for node in attribute.g.node]
    assert all(name.endswith("output_0") for name in itertools.chain(inner, model.graph.node[0].output))
