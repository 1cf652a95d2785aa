"""Other data sets and other tasks than MNIST classification, with the programs of all stages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.base.errors import EXIT_INVALID, exit_with
from stages.data.datasets import digest
from stages.download import download
from stages.evaluate import evaluate
from stages.predict.classifier import open_classifier
from stages.predict.image_arrays import Images
from stages.predict.results import Prediction
from stages.prepare import prepare
from stages.report import report
from tests.support.learning import settings
from tests.support.prepared import copy_prepared

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import training  # noqa: E402  (like the others, but beside Keras)

# Keras reads TensorFlow's variables with np.array(), and NumPy 2 warns about it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

NAMES = ["red", "green", "blue"]
AUGMENTATION = {"rotation": 5.0, "shift": 0.05}
MODELS: dict[str, dict[str, Any]] = {
    "colours": settings("cnn", filters=[6], epochs=4, batch_normalisation=True, augmentation=AUGMENTATION, keep="best"),
    "is_red": settings(task="two_class", positive=[0], epochs=4, balance=True),
    "hinged": settings(loss="squared_hinge", output="logits", epochs=4),
    "how_blue": settings("recurrent", task="regression", values=[0.0, 0.5, 1.0], epochs=4),
}


def colours(count: int, seed: int, kind: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Returns noise (count, 16, 12, 3) with a bright channel for the label: bytes, or floats from -1 to 1."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 3).astype(np.uint8)
    images = random.integers(0, 150, (count, 16, 12, 3), np.uint8)
    images[np.arange(count), :, :, labels] += 100
    return (images, labels) if kind == "uint8" else ((images / 127.5 - 1).astype(kind), labels)


class Project:
    """A folder with a params.yaml for a data set of colour images in a mirror; runs the stages in it."""

    def __init__(self, folder: Path, kind: str, models: dict[str, Any], **section: Any) -> None:
        self.models = models
        train_part, test_part = colours(150, 1, kind), colours(45, 2, kind)
        arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*train_part, *test_part), strict=True))
        np.savez_compressed(folder / "colours.npz", allow_pickle=False, **arrays)
        dataset = {
            "title": "Colours",
            "url": "http://127.0.0.1:9/colours.npz",
            "sha256": {name: digest(array) for name, array in arrays.items()},
            **section,
        }
        content = {
            "dataset": "colours",
            "datasets": {"colours": dataset},
            "prepare": {"normalise": "standard", "crop": {"top": 2}, "validation": 0.2},
            "models": models,
            "report": {},
        }
        Path("params.yaml").write_text(json.dumps(content))

    def fetch(self) -> int:
        """Runs the download stage and returns its exit code."""
        return exit_with(lambda: download.main(["--out", "data/raw"]))

    def run(self, *, with_report: bool = False) -> None:
        """Runs all stages, that of the report only if it is wanted."""
        assert self.fetch() == 0
        assert prepare.main(["--raw", "data/raw", "--out", "data/prepared"]) == 0
        for name in self.models:
            assert training.main(["--model", name, "--data", "data/prepared", "--out", f"models/{name}"]) == 0
            arguments = ["--model", f"models/{name}/model.onnx", "--raw", "data/raw", "--out", f"evaluation/{name}"]
            assert evaluate.main(arguments) == 0
        assert not with_report or report.main(["--out", "reports"]) == 0


def metrics_of(name: str) -> dict[str, float]:
    """Returns the content of metrics.json of a model."""
    content: dict[str, float] = json.loads(Path(f"evaluation/{name}/metrics.json").read_text())
    return content


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, which is also the mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INKFLOW_MIRROR", str(tmp_path))
    return tmp_path


@pytest.mark.farm
def test_colour_images_of_three_named_classes(folder: Path) -> None:
    """Models of every task learn 16x12 colour images with class names, and all stages succeed."""
    Project(folder, "uint8", MODELS, class_names=NAMES, shape=[16, 12, 3]).run(with_report=True)
    assert json.loads(Path("data/raw/dataset.json").read_text())["class_names"] == NAMES
    for name in MODELS:
        metrics = metrics_of(name)
        assert 0.7 < metrics["accuracy"] <= 1, name
        assert metrics["samples"] == 45
    assert metrics_of("is_red").keys() >= {"precision", "recall", "f1"}
    assert metrics_of("how_blue").keys() >= {"mae"}
    confusion = pd.read_csv("evaluation/is_red/confusion.csv")
    assert set(confusion["actual"]) == {"red", "not red"}
    page = Path("reports/index.html").read_text()
    assert all(name in page for name in (*NAMES, "not red"))


SHORT = {name: MODELS[name] | {"epochs": 1} for name in ("is_red", "how_blue")}


def make_trained(folder: Path) -> None:
    """Trains a two-class model and a regression on data with class names, in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INKFLOW_MIRROR", str(folder))
        Project(folder, "uint8", SHORT, class_names=NAMES).run()


@pytest.fixture
def trained(folder: Path) -> Path:
    """The current folder, with a copy of these models and their data."""
    return copy_prepared(make_trained, folder)


@pytest.mark.farm
def test_exported_models_of_two_class_and_regression(trained: Path) -> None:
    """model.onnx of two_class gives two probabilities, and of a regression one value; both name their task."""
    pixels = colours(45, 2, "uint8")[0].astype(np.float32)
    sessions = {name: onnxruntime.InferenceSession(f"models/{name}/model.onnx") for name in SHORT}
    (probabilities,) = sessions["is_red"].run(["probabilities"], {"pixels": pixels})
    assert probabilities.shape == (45, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    (values,) = sessions["how_blue"].run(["values"], {"pixels": pixels})
    assert values.shape == (45, 1)
    table = pd.read_parquet("evaluation/how_blue/predictions.parquet")
    assert np.allclose(table["value"], values[:, 0])
    assert np.allclose(table["loss"], (table["value"] - table["target"]) ** 2, atol=1e-6)
    assert metrics_of("how_blue")["mae"] == pytest.approx((table["value"] - table["target"]).abs().mean(), abs=1e-6)
    nearest = np.abs(table["value"].to_numpy()[:, None] - [0.0, 0.5, 1.0]).argmin(axis=1)
    assert table["predicted"].tolist() == nearest.tolist()
    task = json.loads(sessions["is_red"].get_modelmeta().custom_metadata_map["inkflow.task"])
    assert task == {"kind": "two_class", "positive": [0], "values": []}


def test_predict_names_the_two_classes(trained: Path) -> None:
    """The first class of a two-class model is `not ...`, even if the data set has two classes."""
    assert open_classifier(Path("models/is_red/model.onnx")).class_names == ("not red", "red")
    description = Path("data/raw/dataset.json")
    description.write_text(json.dumps(json.loads(description.read_text()) | {"class_names": NAMES[:2]}))
    assert open_classifier(Path("models/is_red/model.onnx")).class_names == ("not red", "red")
    description.unlink()  # the model file has the names
    assert open_classifier(Path("models/is_red/model.onnx")).class_names == ("not red", "red")


@pytest.mark.farm
@pytest.mark.parametrize("kind", ["float32", pytest.param("float64", marks=pytest.mark.farm)])
def test_float_pixels(folder: Path, kind: str) -> None:
    """Models are trained and evaluated on float pixels from -1 to 1 as on bytes."""
    models = {"colours": settings("dense", epochs=3)}
    Project(folder, kind, models, pixels={"low": -1, "high": 1}).run()
    assert metrics_of("colours")["accuracy"] > 0.7
    info = json.loads(Path("data/prepared/prepared.json").read_text())
    inputs = np.load("data/prepared/x_train.npy")
    assert inputs.mean(dtype=np.float64) == pytest.approx(0, abs=1e-5)
    assert inputs.std(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert -1 < info["offset"] < 1
    images, _ = colours(45, 2, "uint8")
    pieces = [Images([str(number) for number in range(45)], images, from_array=True)]
    answers = [
        one for some in open_classifier(Path("models/colours/model.onnx")).predict(pieces, raw=True) for one in some
    ]
    labels = [int(answer.label) for answer in answers if isinstance(answer, Prediction)]
    predicted = pd.read_parquet("evaluation/colours/predictions.parquet")["predicted"]
    assert (predicted == labels).all()  # image files have bytes, which are scaled to the range


@pytest.mark.parametrize(
    ("kind", "section", "message"),
    [
        ("float32", {}, "x_train has pixels of type float32, expected uint8, or one of uint16"),
        ("float32", {"pixels": {"low": 0, "high": 1}}, "expected 0 to 1 (`pixels`)"),
        ("uint8", {"pixels": {"low": 0, "high": 200}}, "expected 0 to 200 (`pixels`)"),
        ("uint8", {"shape": [16, 12]}, "images of shape (16, 12, 3), but `shape` is [16, 12]"),
        ("uint8", {"classes": 2}, "holds the label 2, expected 0 to 1"),
        ("uint8", {"class_names": ["red", "green"]}, "holds the label 2, expected 0 to 1"),
    ],
)
def test_data_must_match_params(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str, section: dict[str, Any], message: str
) -> None:
    """Type, range, shape and number of classes are checked against params.yaml before anything is written."""
    project = Project(folder, kind, {"dense": settings()}, **section)
    assert project.fetch() == EXIT_INVALID
    assert message in capsys.readouterr().err
    assert not Path("data").exists()
