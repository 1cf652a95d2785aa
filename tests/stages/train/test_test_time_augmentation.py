"""Test-time augmentation: the mean over views of an image, in every form in which a model ships."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.base.errors import EXIT_DONE
from stages.model.config import TestTimeAugmentation as Chosen
from stages.model.tasks import encode
from stages.train.training import train
from tests.stages.train.test_model_files import answer
from tests.support.learning import Folders, make_model, write_data

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.export import command  # noqa: E402  (import Keras)
from stages.train import losses, networks  # noqa: E402  (import Keras)
from stages.train.augmentation import matrices  # noqa: E402
from stages.train.test_time_augmentation import View, copies_of, neighbours, with_views  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
ALL = {"rotation": 9.0, "zoom": 0.1, "shift": 0.05}
SIZE = (12, 14)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Data to learn from."""
    return write_data(tmp_path_factory.mktemp("views"), (*SIZE, 3))


@pytest.mark.parametrize(("chosen", "looks"), [({"zoom": 0.1}, 3), ({"rotation": 5, "zoom": 0.1}, 5), (ALL, 9)])
def test_mean_over_views_as_keras_makes_them(chosen: dict[str, float], looks: int) -> None:
    """Each view is what Keras's affine transform makes of the image; the answer is the mean of the network's."""
    model = make_model("cnn", test_time_augmentation=chosen, output="logits")
    network = networks.build(model, (*SIZE, 3), 4)
    images = np.random.default_rng(0).uniform(size=(5, *SIZE, 3)).astype(np.float32)
    said = []
    for view in (View(), *copies_of(Chosen(**chosen))):
        angle, scale, down, right = (np.full(5, value, np.float32) for value in view)
        change = matrices(angle, scale, down * SIZE[0], right * SIZE[1], SIZE)
        said.append(network(keras.ops.image.affine_transform(images, change, "bilinear", "nearest")))
    assert len(said) == looks
    found = with_views(network, Chosen(**chosen))(images)
    assert np.abs(np.asarray(found) - np.mean(said, axis=0)).max() < 1e-5


def test_first_view_is_the_image() -> None:
    """Every pixel is its own and nothing else."""
    places, shares = neighbours(View(), SIZE)
    assert places[0].tolist() == list(range(12 * 14))
    assert np.array_equal(shares.T, np.tile([1, 0, 0, 0], (12 * 14, 1)))


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        ("cnn", {"output": "logits", "batch_normalisation": True}),
        ("dense", {"task": "two_class", "positive": [1]}),
        ("recurrent", {"task": "regression"}),
        ("conv1d", {}),
    ],
)
def test_all_that_ships_has_the_views(folders: Folders, tmp_path: Path, network: str, changes: dict[str, Any]) -> None:
    """Equal bytes twice; the Keras file opens by itself, has the plain network's weights, and is exported."""
    plain = make_model(network, epochs=1, **changes)
    model = make_model(network, epochs=1, test_time_augmentation=ALL, **changes)
    for name, chosen in (("plain", plain), ("views", model), ("again", model)):
        train("tiny", chosen, folders.prepared, tmp_path / name, tmp_path / "checkpoints" / name)
    for file in ("model.keras", "model.onnx", "training.json", "history.csv"):
        assert (tmp_path / "views" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    history = [(tmp_path / name / "history.csv").read_bytes() for name in ("plain", "views")]
    assert history[0] == history[1]
    part = folders.data.validation
    alone, averaging = (keras.saving.load_model(tmp_path / name / "model.keras") for name in ("plain", "views"))
    for weight, same in zip(alone.get_weights(), averaging.get_weights(), strict=True):
        assert np.array_equal(weight, same)
    said = averaging(np.asarray(part.images[np.arange(len(part.labels))]))
    loss = float(losses.make_loss(model)(encode(part.labels, model, 4), said))
    told = json.loads((tmp_path / "views" / "training.json").read_text())["validation"]["loss"]
    assert told == pytest.approx(loss, rel=1e-4)
    form = "saved_model" if network == "recurrent" else "litert"
    given = [str(tmp_path / "views/model.keras"), "--format", form, "--data", str(folders.prepared)]
    assert command.main(given) == EXIT_DONE


def test_views_change_the_answers_of_what_ships(folders: Folders, tmp_path: Path) -> None:
    """The ONNX model of the same weights says something else with views, and its probabilities sum to 1."""
    said = []
    for views in (None, ALL):
        model = make_model("cnn", epochs=1, output="logits", test_time_augmentation=views)
        train("tiny", model, folders.prepared, tmp_path / str(views is None), tmp_path / "checkpoints")
        with np.load(folders.raw / "dataset.npz") as arrays:
            said.append(answer(tmp_path / str(views is None) / "model.onnx", arrays["x_test"]))
    assert np.abs(said[0] - said[1]).max() > 1e-3
    assert np.abs(said[1].sum(axis=1) - 1).max() < 1e-5
