"""Test-time augmentation: the mean over views of an image, in every exported format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base.errors import EXIT_DONE
from stages.model.augmentation_config import TestTimeAugmentation as Config
from stages.model.tasks import encode
from stages.train.training import train
from tests.stages.train.test_model_files import predict
from tests.support.learning import Folders, make_model, write_data

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.export import command  # noqa: E402  (import Keras)
from stages.train import losses, networks  # noqa: E402  (import Keras)
from stages.train.augmentation.distortion import affine_transforms  # noqa: E402
from stages.train.augmentation.test_time import View, augmented_views, bilinear_neighbours, with_test_time_augmentation  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
ALL = {"rotation": 9.0, "zoom": 0.1, "shift": 0.05}
SIZE = (12, 14)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Prepared data of simple patterns."""
    return write_data(tmp_path_factory.mktemp("views"), (*SIZE, 3))


@pytest.mark.cases(1)
@pytest.mark.parametrize(("options", "count"), [(ALL, 9), ({"zoom": 0.1}, 3), ({"rotation": 5, "zoom": 0.1}, 5)])
def test_output_is_the_mean_over_views(options: dict[str, float], count: int) -> None:
    """The output is the mean of the network's outputs for the image and its views by Keras's affine transform."""
    model = make_model("cnn", test_time_augmentation=options, output="logits")
    network = networks.build(model, (*SIZE, 3), 4)
    images = np.random.default_rng(0).uniform(size=(5, *SIZE, 3)).astype(np.float32)
    outputs = []
    for view in (View(), *augmented_views(Config(**options))):
        angle, scale, down, right = (np.full(5, value, np.float32) for value in view)
        transforms = affine_transforms(angle, scale, down * SIZE[0], right * SIZE[1], SIZE)
        outputs.append(network(keras.ops.image.affine_transform(images, transforms, "bilinear", "nearest")))
    assert len(outputs) == count
    averaged = with_test_time_augmentation(network, Config(**options))(images)
    assert np.abs(np.asarray(averaged) - np.mean(outputs, axis=0)).max() < 1e-5


def test_first_view_is_the_image() -> None:
    """In the view without a transform each pixel is the input pixel alone."""
    indices, weights = bilinear_neighbours(View(), SIZE)
    assert indices[0].tolist() == list(range(12 * 14))
    assert np.array_equal(weights.T, np.tile([1, 0, 0, 0], (12 * 14, 1)))


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        pytest.param("cnn", {"output": "logits", "batch_normalisation": True}, marks=pytest.mark.farm),
        pytest.param("dense", {"task": "two_class", "positive": [1]}, marks=pytest.mark.farm),
        pytest.param("recurrent", {"task": "regression"}, marks=pytest.mark.farm),
        pytest.param("conv1d", {}, marks=pytest.mark.farm),
    ],
)
def test_exports_average_over_views(folders: Folders, tmp_path: Path, network: str, changes: dict[str, Any]) -> None:
    """Two trainings give equal bytes; the Keras file loads by itself, has the network's weights, and is exported."""
    plain = make_model(network, epochs=1, **changes)
    model = make_model(network, epochs=1, test_time_augmentation=ALL, **changes)
    for name, config in (("plain", plain), ("views", model), ("again", model)):
        train("tiny", config, folders.prepared, tmp_path / name, tmp_path / "checkpoints" / name)
    for file in ("model.keras", "model.onnx", "training.json", "history.csv"):
        assert (tmp_path / "views" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    history = [(tmp_path / name / "history.csv").read_bytes() for name in ("plain", "views")]
    assert history[0] == history[1]
    part = folders.data.validation
    plain_network, averaging = (keras.saving.load_model(tmp_path / name / "model.keras") for name in ("plain", "views"))
    for weight, same in zip(plain_network.get_weights(), averaging.get_weights(), strict=True):
        assert np.array_equal(weight, same)
    outputs = averaging(np.asarray(part.images[np.arange(len(part.labels))]))
    loss = float(losses.make_loss(model)(encode(part.labels, model, 4), outputs))
    recorded = json.loads((tmp_path / "views" / "training.json").read_text())["validation"]["loss"]
    assert recorded == pytest.approx(loss, rel=1e-4)
    export_format = "saved_model" if network == "recurrent" else "litert"
    arguments = [str(tmp_path / "views/model.keras"), "--format", export_format, "--data", str(folders.prepared)]
    assert command.main(arguments) == EXIT_DONE


@pytest.mark.farm
def test_views_change_the_predictions_of_the_export(folders: Folders, tmp_path: Path) -> None:
    """The ONNX model with views has other probabilities than without, and they sum to 1."""
    probabilities = []
    for views in (None, ALL):
        model = make_model("cnn", epochs=1, output="logits", test_time_augmentation=views)
        train("tiny", model, folders.prepared, tmp_path / str(views is None), tmp_path / "checkpoints")
        with np.load(folders.raw / "dataset.npz") as arrays:
            probabilities.append(predict(tmp_path / str(views is None) / "model.onnx", arrays["x_test"]))
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-3
    assert np.abs(probabilities[1].sum(axis=1) - 1).max() < 1e-5
