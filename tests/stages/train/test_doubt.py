"""Doubt of a trained network: temperature, unlikeness, thresholds, and what the exported model has of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from scipy.spatial import distance

from stages.model.doubt import METADATA, UNLIKENESS, Doubt
from stages.model.reference import CONFIDENCE, Reference
from stages.samples.prepared import Part, raw_pixels
from stages.train import networks
from stages.train.doubt.calibration import class_logits, fit_temperature, two_logits
from stages.train.doubt.measurement import MeasuredDoubt, measure_doubt
from stages.train.doubt.unlikeness import RIDGE, fit_unlikeness
from stages.train.export import model_files, onnx_subprocess
from stages.train.training import train
from tests.support.learning import make_model, patterns, write_data

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.mark.parametrize("temperature", [0.4, 1.7, 6.0])
def test_temperature_is_found(temperature: float) -> None:
    """Labels drawn from softmax(logits / T) give T back, and no other temperature has less loss on them."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (20_000, 5))
    powers = np.exp(logits / temperature)
    shares = (powers / powers.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (random.random((20_000, 1)) > shares).sum(axis=1).clip(0, 4)
    found = fit_temperature(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.loss_after is not None and found.loss_before is not None
    for other in (0.98, 1.02):
        powers = np.exp(logits / (found.temperature * other))
        of_labels = (powers / powers.sum(axis=1, keepdims=True))[np.arange(20_000), labels]
        assert -np.log(of_labels).mean() > found.loss_after
    assert found.loss_after < found.loss_before
    assert found.note is None


def test_temperature_without_evidence_is_one(tmp_path: Path) -> None:
    """Without validation images, or without a wrong answer among them, probabilities stay, and the record says why."""
    data, model = write_data(tmp_path).data, make_model()
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    empty = Part(np.zeros((0, 12, 14, 1), np.float32), np.zeros(0, int))
    none = measure_doubt(network, model, data._replace(validation=empty))
    assert none is not None and none.doubt.thresholds(0.99) is None
    assert none.calibration.record() == {"temperature": 1.0, "note": "not calibrated: there are no validation images"}
    right = fit_temperature(np.eye(3), np.arange(3))
    assert right.temperature == 1.0
    assert "is wrong" in right.record()["note"]


def test_logits_give_the_networks_own_probabilities() -> None:
    """The softmax of the logits is the network's own result, also for two classes, and where float32 gives 0."""
    result = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    powers = np.exp(class_logits(result, False, np))
    assert np.allclose(powers / powers.sum(axis=1, keepdims=True), result, atol=1e-30)
    scores = np.array([[-3.0], [0.0], [400.0]])
    powers = np.exp(two_logits(scores, np))
    assert np.allclose(powers[:, 1:] / powers.sum(axis=1, keepdims=True), 1 / (1 + np.exp(-scores)))


def test_saturated_sigmoid_is_exported(tmp_path: Path) -> None:
    """Probabilities that float32 rounds to 1 are calibrated by the logits before the sigmoid, which ONNX has too."""
    folders, model = write_data(tmp_path), make_model(task="two_class", positive=[1])
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    network.set_weights([8 * weight for weight in network.get_weights()])
    measured = measure_doubt(network, model, data)
    assert measured is not None
    hot = measured._replace(calibration=measured.calibration._replace(temperature=7.0))
    model_files.save_onnx(network, data.prepared, model, tmp_path / "m.onnx", hot)
    images = data.validation.images[:]
    model_files.check_agreement(network, tmp_path / "m.onnx", images, data.prepared, model, hot)


def test_relative_distance_is_the_difference_of_two_mahalanobis_distances() -> None:
    """In the few projected numbers, the distance is the same as with the two whole covariances (SciPy's distances)."""
    random = np.random.default_rng(1)
    labels = np.arange(600) % 4
    features = random.normal(size=(600, 7)) @ random.normal(size=(7, 7)) + 3 * random.normal(size=(4, 7))[labels]
    logits = random.normal(size=(600, 4))
    measure = fit_unlikeness(features, logits, labels)
    assert measure is not None
    means = np.array([features[labels == number].mean(axis=0) for number in range(4)])
    within = np.cov((features - means[labels]).T, bias=True)
    ridge = RIDGE * np.trace(within) / 7 * np.eye(7)
    to_classes = distance.cdist(features, means, "mahalanobis", VI=np.linalg.inv(within + ridge)).min(axis=1) ** 2
    total = np.linalg.inv(np.cov(features.T, bias=True) + ridge)
    to_all = distance.cdist(features, features.mean(axis=0)[None], "mahalanobis", VI=total)[:, 0] ** 2
    found, energy = measure.distance_and_energy(features, logits, np)
    assert np.allclose(found[:, 0], to_classes - to_all)
    assert np.allclose(energy[:, 0], -np.log(np.exp(logits).sum(axis=1)))
    unlikeness = measure.measure(features, logits, np)
    assert abs(unlikeness.mean()) < 1e-9


@pytest.mark.parametrize("features", [np.ones((8, 3)), np.zeros((8, 5000))])
def test_no_measure_where_there_is_none(features: Any) -> None:
    """Equal features, too many of them, or a single class give no measure, and no error."""
    assert fit_unlikeness(features, np.zeros((8, 2)), np.arange(8) % 2) is None
    assert fit_unlikeness(np.random.default_rng(0).normal(size=(8, 3)), np.zeros((8, 2)), np.zeros(8, int)) is None


@pytest.mark.parametrize(
    "text",
    ["3", "[]", "{}", '{"temperature": 1, "levels": [1], "probability": [], "unlikeness": []}', "[" * 9000, "9" * 10**6,
     '{"temperature": 0, "levels": [], "probability": [], "unlikeness": []}',
     '{"temperature": 1, "levels": [NaN], "probability": [0.5], "unlikeness": []}'],
)  # fmt: skip
def test_hostile_thresholds(text: str) -> None:
    """Metadata of other shapes, without end, or with numbers that are none, are refused."""
    with pytest.raises(ValueError, match=METADATA):
        Doubt.from_metadata({METADATA: text})


def outputs(path: Path, pixels: Any) -> dict[str, Any]:
    """Returns the outputs of an ONNX file by name."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"pixels": pixels.astype(np.float32)}), strict=True))


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    "changes",
    [
        {"output": "softmax"},
        {"output": "logits"},
        {"task": "two_class", "positive": [1]},
        {"task": "two_class", "positive": [1], "output": "logits"},
        {"output": "logits", "test_time_augmentation": {"shift": 0.1}},
    ],
)
def test_exported_model_has_temperature_and_unlikeness(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The ONNX file divides the logits by the temperature, orders the classes as before, and measures unlikeness."""
    folders = write_data(tmp_path)
    model, data = make_model("cnn", **changes), folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    if model.test_time_augmentation:
        from stages.train.augmentation.test_time import with_test_time_augmentation  # imports Keras

        network = with_test_time_augmentation(network, model.test_time_augmentation)
    measured = measure_doubt(network, model, data)
    assert measured is not None
    hot = measured._replace(calibration=measured.calibration._replace(temperature=2.0))
    images = data.validation.images[:]
    found = []
    for number, doubt in enumerate((measured._replace(calibration=hot.calibration._replace(temperature=1.0)), hot)):
        path = tmp_path / f"{number}.onnx"
        model_files.save_onnx(network, data.prepared, model, path, doubt)
        model_files.check_agreement(network, path, images, data.prepared, model, doubt)
        found.append(outputs(path, raw_pixels(images, data.prepared)))
    cold, warm = (one["probabilities"] for one in found)
    assert (cold.argmax(axis=1) == warm.argmax(axis=1)).all()
    roots = np.sqrt(cold)
    assert np.allclose(warm, roots / roots.sum(axis=1, keepdims=True), atol=1e-5)
    assert list(found[0]) == ["probabilities", UNLIKENESS]
    assert found[1][UNLIKENESS].shape == (len(images), 1)
    assert np.allclose(found[0][UNLIKENESS], found[1][UNLIKENESS])


@pytest.mark.farm
def test_training_records_its_doubt_twice_the_same(tmp_path: Path) -> None:
    """A training writes its calibration to training.json; its thresholds keep images like the others."""
    folders, model = write_data(tmp_path), make_model(epochs=6)
    for folder in ("a", "b"):
        train("m", model, folders.prepared, tmp_path / folder, tmp_path / "checkpoints")
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()
    assert (tmp_path / "a/training.json").read_bytes() == (tmp_path / "b/training.json").read_bytes()
    assert json.loads((tmp_path / "a/training.json").read_text())["calibration"]["temperature"] > 0
    session = onnxruntime.InferenceSession(tmp_path / "a/model.onnx")
    doubt = Doubt.from_metadata(session.get_modelmeta().custom_metadata_map)
    thresholds = doubt and doubt.thresholds(0.99)
    assert thresholds is not None and thresholds.unlikeness is not None
    pixels = patterns(60, seed=2)[0]
    likes, unlikes = (outputs(tmp_path / "a/model.onnx", some)[UNLIKENESS] for some in (pixels, 255 - pixels))
    assert np.mean(likes > thresholds.unlikeness) < 0.2
    assert np.median(unlikes) > np.median(likes)


def test_a_network_whose_features_hardly_vary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network that learns nothing is exported without the unlikeness if its rounding errors are as large as what it
    measures; thresholds and reference are those of the probabilities, and a warning says so.
    """
    folders, model = write_data(tmp_path), make_model(units=[16] * 10, activation="sigmoid", epochs=1)
    train("deep", model, folders.prepared, tmp_path / "out", tmp_path / "checkpoints")
    assert "warning: deep: the unlikeness of the exported ONNX model differs by" in capsys.readouterr().err
    path = tmp_path / "out/model.onnx"
    assert list(outputs(path, patterns(4)[0])) == ["probabilities"]
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    doubt, reference = Doubt.from_metadata(metadata), Reference.from_metadata(metadata)
    thresholds = doubt and doubt.thresholds(0.99)
    assert thresholds is not None and thresholds.unlikeness is None
    assert reference is not None and CONFIDENCE in reference.statistics and UNLIKENESS not in reference.statistics


@pytest.mark.farm
def test_regression_has_no_doubt(tmp_path: Path) -> None:
    """A regression gives no probabilities: it has no temperature, no unlikeness and no thresholds."""
    folders, model = write_data(tmp_path), make_model(task="regression")
    train("m", model, folders.prepared, tmp_path / "out", tmp_path / "checkpoints")
    assert list(outputs(tmp_path / "out/model.onnx", patterns(4)[0])) == ["values"]
    assert "calibration" not in json.loads((tmp_path / "out/training.json").read_text())


@pytest.mark.farm
def test_another_backend_exports_the_same(tmp_path: Path) -> None:
    """The export in a subprocess, for other backends, gets the doubt as JSON and writes the same bytes."""
    folders, model = write_data(tmp_path), make_model()
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    doubt = measure_doubt(network, model, data)
    assert isinstance(doubt, MeasuredDoubt)
    model_files.save_keras(network, tmp_path / "m.keras")
    model_files.save_onnx(network, data.prepared, model, tmp_path / "here.onnx", doubt)
    onnx_subprocess.save_onnx(tmp_path / "m.keras", data.prepared, model, tmp_path / "there.onnx", doubt.to_json())
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()
