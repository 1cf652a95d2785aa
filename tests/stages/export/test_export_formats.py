"""`inkflow export`: LiteRT and SavedModel predict the same as Keras, or are not written."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.support.learning import Folders, make_model, write_data
from tests.support.prepared import copy_prepared

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

import tensorflow as tf  # noqa: E402  (loaded with Keras)
from tensorflow.lite.python.convert_phase import ConverterError  # noqa: E402  (as the other)

from flows.cli.main import main  # noqa: E402  (as the others)
from stages.base.errors import InkflowError, ModelError, exit_with  # noqa: E402  (as the others)
from stages.export import export as exporting  # noqa: E402  (imports Keras)
from stages.model.doubt import Doubt  # noqa: E402  (as the others)
from stages.model.export_formats import FORMATS  # noqa: E402  (as the others)
from stages.samples.prepared import read_training_data  # noqa: E402  (as the others)
from stages.train import networks  # noqa: E402  (import Keras)
from stages.train.doubt.calibration import Calibration  # noqa: E402  (as the others)
from stages.train.doubt.measurement import MeasuredDoubt  # noqa: E402  (imports Keras)
from stages.train.export import model_files  # noqa: E402  (import Keras)

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


FORM = {"picture_form": {"conversion": "stretch", "background": "light"}}
FACTS: dict[str, Any] = FORM | {"class_names": ["ant", "bee", "cät", "dog"]}


def make_work(folder: Path) -> None:
    """Writes prepared data, cropped and standardised, and a calibrated model `cnn` with logits."""
    folders: Folders = write_data(folder / "data", crop={"top": 1, "left": 2}, normalise="standard")
    prepared = folders.data.prepared
    network = networks.build(make_model("cnn", output="logits"), prepared.shape, prepared.classes)
    (folder / "models/cnn").mkdir(parents=True)
    model_files.save_keras(network, folder / "models/cnn/model.keras")
    doubt = MeasuredDoubt(Calibration(2.0), Doubt(2.0))
    model = make_model("cnn", output="logits")
    model_files.save_onnx(network, prepared, model, folder / "models/cnn/model.onnx", doubt)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of these files."""
    monkeypatch.chdir(tmp_path)
    return copy_prepared(make_work, tmp_path)


def run(*arguments: str) -> int:
    """Returns the exit code of `inkflow export`."""
    return exit_with(lambda: main(["export", *arguments]))


@pytest.mark.parametrize("export_format", ["litert", "saved_model"])
def test_export_agrees_with_onnx(work: Path, capfd: pytest.CaptureFixture[str], export_format: str) -> None:
    """The export predicts the same as the ONNX model, for any number of images, and prints its difference.

    It contains the class names, and the range, shape and form of the pictures, where its tools expect them.
    """
    path = work / "data/prepared/prepared.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | FACTS))
    place = ["--out", "out"] if export_format == "saved_model" else []  # else beside the model
    assert run("cnn", "--format", export_format, *place) == 0
    output = capfd.readouterr()  # also that of C++
    assert output.out.count("\n") == 1 and "from those of Keras" in output.out
    assert output.err == ""
    pixels = np.random.default_rng(1).integers(0, 256, (7, 12, 14)).astype(np.float32)
    session = onnxruntime.InferenceSession("models/cnn/model.onnx")
    expected = session.run(None, {"pixels": pixels})[0]
    if export_format == "saved_model":
        loaded = tf.saved_model.load("out")
        predictions = loaded.serve(pixels).numpy()
    else:
        with pytest.warns(UserWarning, match="Interpreter is deprecated"):
            interpreter = tf.lite.Interpreter("models/cnn/model.tflite")
        (predictions,) = interpreter.get_signature_runner("serving_default")(pixels=pixels).values()
    assert np.abs(predictions - expected).max() < 1e-5
    assert [path for folder in (work, work / "models/cnn") for path in folder.glob(".*")] == []
    inside = zipfile.Path("models/cnn/model.tflite") if export_format == "litert" else work / "out/assets.extra"
    assert json.loads((inside / "inkflow.json").read_text("utf-8")) == {
        "task": "multiclass",
        "pixels": {"low": 0, "high": 255},
        "shape": [12, 14],
        **FACTS,
        "onnx_sha256": hashlib.sha256(Path("models/cnn/model.onnx").read_bytes()).hexdigest(),
    }
    assert (inside / "labels.txt").read_text("utf-8") == "ant\nbee\ncät\ndog\n"


@pytest.mark.parametrize(
    ("export_format", "out"),
    [("saved_model", "."), ("saved_model", "models/cnn"), ("litert", "models/cnn/model.keras"), ("litert", "models")],
)
def test_other_files_are_not_overwritten(
    work: Path, capsys: pytest.CaptureFixture[str], export_format: str, out: str
) -> None:
    """A folder with other files, and a file that is no LiteRT, are refused before any work, and stay as they are."""
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert run("cnn", "--format", export_format, "--out", out) == 2
    assert capsys.readouterr().err.startswith(f"error: {out}: ")
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("export_format", ["litert", "saved_model"])
def test_an_export_replaces_an_earlier_one(work: Path, export_format: str) -> None:
    """An export of the same format is replaced."""
    assert [run("cnn", "--format", export_format, "--out", "out") for _ in range(2)] == [0, 0]


def test_litert_that_cannot_run_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recurrent network, whose operations LiteRT lacks, is refused in one sentence, and nothing is written."""
    model, folder = make_model("recurrent", cell="simple_rnn"), work / "models/rows"
    prepared = read_training_data(work / "data/prepared").prepared
    folder.mkdir()
    model_files.save_keras(networks.build(model, prepared.shape, prepared.classes), folder / "model.keras")
    assert run("rows", "--format", "litert") == 1
    assert "LiteRT cannot run this model (Select TensorFlow op(s)" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["model.keras"]


@pytest.mark.cases(1)
@pytest.mark.parametrize("task", [{"task": "two_class", "positive": [1, 2]}, {"task": "regression"}])
def test_other_tasks(work: Path, capsys: pytest.CaptureFixture[str], task: dict[str, Any]) -> None:
    """A network with one output predicts the same as its ONNX file; training.json beside it names its task."""
    prepared = read_training_data(work / "data/prepared").prepared
    model, folder = make_model(**task), work / "models/other"
    network = networks.build(model, prepared.shape, prepared.classes)
    folder.mkdir()
    model_files.save_keras(network, folder / "model.keras")
    model_files.save_onnx(network, prepared, model, folder / "model.onnx")
    assert run("other", "--format", "litert") == 2
    assert "training.json: not found" in capsys.readouterr().err
    facts: dict[str, Any] = {
        "model": "other",
        "task": model.task,
        "parameters": 1,
        "epochs": 1,
        "precision": "float32",
        "versions": {},
    }
    scores = {"train": {"loss": 1.0}, "validation": {"loss": 1.0}, "device": {"kind": "cpu", "name": "a"}}
    (folder / "training.json").write_text(json.dumps(facts | scores))
    assert run("other", "--format", "saved_model") == 0
    pixels = np.random.default_rng(1).integers(0, 256, (7, 12, 14)).astype(np.float32)
    expected = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"pixels": pixels})[0]
    metadata = json.loads((folder / "saved_model/assets.extra/inkflow.json").read_text())
    assert metadata.pop("onnx_sha256") == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    outputs = {"class_names": ["not 1, 2", "1, 2"]} if model.task == "two_class" else {"values": [0, 1, 2, 3]}
    assert metadata.pop("picture_form")["conversion"] == "stretch"  # of noise
    assert metadata == {"task": model.task, "pixels": {"low": 0, "high": 255}, "shape": [12, 14]} | outputs
    loaded = tf.saved_model.load(folder / "saved_model")  # a reference to it keeps its variables alive
    predictions = loaded.serve(pixels).numpy()
    assert predictions.shape == expected.shape == (7, 2 if model.task == "two_class" else 1)
    assert np.abs(predictions - expected).max() < 1e-4


@pytest.mark.cases(1)
@pytest.mark.parametrize("export_format", ["saved_model", "litert"])
def test_different_export_is_not_written(work: Path, monkeypatch: pytest.MonkeyPatch, export_format: str) -> None:
    """An export that differs from Keras is not written; the earlier file stays."""
    monkeypatch.setattr(exporting, "TOLERANCE", -1)  # no difference is small enough
    (work / "models/cnn/model.onnx").unlink()  # otherwise it is compared first
    target = work / "out" / FORMATS[export_format]
    target.parent.mkdir()
    (target.write_bytes if export_format == "litert" else lambda _: target.mkdir())(b"\0\0\0\0TFL3")
    with pytest.raises(InkflowError, match="from those of Keras, expected at most -1; nothing was written"):
        exporting.export("cnn", export_format, work / "data/prepared", target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.read_bytes() == b"\0\0\0\0TFL3" if export_format == "litert" else not list(target.iterdir())


def test_data_of_another_run_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data that was prepared otherwise than for this model is refused, by the predictions of the ONNX model."""
    write_data(work / "other", crop={"bottom": 1, "right": 2}, normalise="unit")
    assert run("cnn", "--format", "litert", "--data", "other/prepared") == 2
    assert "prepared otherwise" in capsys.readouterr().err
    write_data(work / "large", normalise="unit")
    assert run("cnn", "--format", "litert", "--data", "large/prepared") == 2
    assert "takes images of shape (11, 12, 1)" in capsys.readouterr().err


def test_invalid_models_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing or invalid model is reported in one sentence."""
    (work / "models/bad").mkdir()
    (work / "models/bad/model.keras").write_bytes(b"nonsense")
    for name, sentence in (("absent", "known: bad, cnn"), ("bad", "is not a Keras model")):
        assert run(name, "--format", "litert") == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ConverterError("no such operation"), tf.errors.ResourceExhaustedError(None, None, "no space")]
)
def test_a_failure_of_the_converter_is_one_sentence(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """An operation that the format lacks, or a full disk under TensorFlow, is one sentence; nothing is written."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(exporting, "_write_saved_model", fail)
    assert run("cnn", "--format", "saved_model") == 1
    sentence = capsys.readouterr().err
    assert "model.keras: cannot be exported as saved_model (no s" in sentence and sentence.count("\n") == 1
    assert not (work / "models/cnn/saved_model").exists()


def test_own_error_is_none_of_the_model(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the export itself does not blame the model's file."""
    monkeypatch.setattr(model_files, "serving_model", lambda *_: [][0])
    with pytest.raises(IndexError):
        exporting.export("cnn", "litert", work / "data/prepared")


def test_model_of_two_outputs_is_refused(work: Path) -> None:
    """A Keras model with more than one output has no predictions to export."""
    image = keras.Input(read_training_data(work / "data/prepared").prepared.shape)
    row = keras.layers.Flatten()(image)
    network = keras.Model(image, [keras.layers.Dense(3)(row), keras.layers.Dense(3)(row)])
    model_files.save_keras(network, work / "models/cnn/model.keras")
    with pytest.raises(ModelError, match=r"model\.keras: has 2 outputs, expected one"):
        exporting.export("cnn", "litert", work / "data/prepared")
