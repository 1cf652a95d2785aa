"""The train stage as a program."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from stages.base.errors import InvalidInput
from stages.base.machine import available_cores
from stages.model.reference import Reference
from stages.train.live_history import OUTPUTS
from stages.train.training import main
from tests.stages.train.test_reference import check_reference
from tests.support.learning import Folders, settings, write_data, write_params
from tests.support.root import ROOT
from tests.support.tiny_data import expect_error, snapshot

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train.outputs import SEEDS, VALIDATION  # noqa: E402  (imports Keras)

# Keras reads TensorFlow's variables with np.array(), which NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

CNN = settings("cnn", output="logits", dropout=0.3, epochs=3, batch_size=16)  # the last batch has 4 samples


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Prepared data of simple patterns, cropped and standardised."""
    return write_data(tmp_path_factory.mktemp("train"), crop={"top": 1}, normalise="standard")


def arguments(folders: Folders, out: Path, name: str = "cnn", **models: object) -> list[str]:
    """Returns the arguments of the stage, with a params.yaml beside `out`."""
    params = write_params(out.parent / "params.yaml", **(models or {"cnn": CNN}))
    checkpoints = out.parent / "checkpoints"  # not shared: two processes of the test suite may train the same model
    paths = {"--data": folders.prepared, "--out": out, "--checkpoints": checkpoints, "--params": params}
    return ["--model", name, *(str(part) for option in paths.items() for part in option)]


@pytest.fixture(scope="module")
def trained(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the outputs of one training."""
    out = tmp_path_factory.mktemp("trained") / "models" / "cnn"
    out.parent.mkdir()
    assert main(arguments(folders, out)) == 0
    return out


def test_outputs_are_complete(trained: Path) -> None:
    """The folder has exactly the outputs, no temporary files, and with one seed an empty folder of seeds."""
    assert sorted(path.name for path in trained.iterdir()) == sorted([*OUTPUTS, VALIDATION, SEEDS])
    assert list((trained / SEEDS).iterdir()) == []
    scores = json.loads((trained / "training.json").read_text())["validation"]
    metrics = json.loads((trained / VALIDATION).read_text())
    assert list(metrics.items()) == [("validation_loss", scores["loss"]), ("validation_accuracy", scores["accuracy"])]


def test_history_has_a_line_per_epoch(trained: Path) -> None:
    """history.csv counts epochs from 1, and the loss falls."""
    with (trained / "history.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert float(lines[-1]["loss"]) < float(lines[0]["loss"])
    assert list(lines[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


def test_training_json_summarises_the_training(trained: Path, folders: Folders) -> None:
    """training.json has model, size, device, versions and scores, but no times and no paths."""
    text = (trained / "training.json").read_text()
    summary = json.loads(text)
    assert {key: summary[key] for key in ("model", "network", "epochs")} == {
        "model": "cnn",
        "network": "cnn",
        "epochs": 3,
    }
    assert summary["precision"] in ("float32", "bfloat16")
    assert summary["threads"] == available_cores()
    assert summary["parameters"] == (9 + 1) * 4 + (4 * 6 * 4 + 1) * 16 + 17 * 4
    kinds = ["Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dropout", "Dense"]
    assert [layer["kind"] for layer in summary["layers"]] == kinds
    assert [layer["shape"] for layer in summary["layers"]][2:] == [[None, 96], [None, 16], [None, 16], [None, 4]]
    assert sum(layer["parameters"] for layer in summary["layers"]) == summary["trainable_parameters"]
    assert summary["samples"] == {"train": 180, "validation": 60}
    assert summary["device"]["kind"] in ("cpu", "gpu")
    assert summary["versions"]["keras"] == keras.__version__
    assert summary["train"].keys() == summary["validation"].keys() == {"loss", "accuracy"}
    assert not re.search(r"20\d\d-\d\d|seconds|duration", text)
    assert str(folders.prepared.parent) not in text


def test_both_models_predict_the_same(trained: Path, folders: Folders) -> None:
    """model.keras on prepared images, with the temperature, and model.onnx on raw images predict the same."""
    data = folders.data
    with np.load(folders.raw / "dataset.npz") as arrays:
        raw = arrays["x_test"]
    inputs = (raw[:, 1:, :, None].astype(np.float32) - data.prepared.offset) / data.prepared.scale
    logits = np.asarray(keras.saving.load_model(trained / "model.keras")(inputs.astype(np.float32)))
    logits = logits / json.loads((trained / "training.json").read_text())["calibration"]["temperature"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    session = onnxruntime.InferenceSession(trained / "model.onnx")
    probabilities = session.run(None, {"pixels": raw.astype(np.float32)})[0]
    assert np.abs(probabilities - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-5


def test_reference_is_what_the_exported_model_answers(trained: Path, folders: Folders) -> None:
    """The reference in the model's metadata is what the model answers on the raw validation images."""
    session = onnxruntime.InferenceSession(trained / "model.onnx")
    reference = Reference.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert reference is not None and reference.crop == (1, 0, 0, 0)
    check_reference(reference, session, folders.data)


@pytest.mark.farm
@pytest.mark.slow
def test_another_process_gives_the_same_bytes(trained: Path, folders: Folders, tmp_path: Path) -> None:
    """The same training in another process gives all files byte for byte, with a plain log."""
    process = subprocess.run(
        [sys.executable, "-m", "stages.train", *arguments(folders, tmp_path / "cnn")],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert snapshot(tmp_path / "cnn") == snapshot(trained)
    lines = process.stdout.splitlines()
    assert re.fullmatch(r"cnn: training on [cg]pu \(.+ threads\) in (float32|bfloat16)", lines[0])
    number = r"\d+\.\d{4}"
    epoch = rf"epoch 1/3  loss {number}  accuracy {number}  val_loss {number}  val_accuracy {number}"
    assert re.fullmatch(epoch, lines[1])
    assert len(lines) == 5


def test_diverging_training_keeps_earlier_outputs(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training whose loss becomes infinite fails with one sentence and writes no file."""
    out = tmp_path / "wild"
    out.mkdir()
    (out / "model.onnx").write_bytes(b"earlier")
    optimizer = {"name": "sgd", "learning_rate": 10.0, "momentum": 0.99}
    wild = settings(units=[64] * 8, activation="none", output="logits", optimizer=optimizer, epochs=50)
    code, sentence = expect_error(main, arguments(folders, out, "wild", wild=wild), capsys)
    assert code == 2
    assert re.search(r"models\.wild: the loss became (nan|inf) in epoch 1, by step \d+, .*rate", sentence)
    assert snapshot(out) == {"model.onnx": b"earlier"}


def test_diverging_training_keeps_its_last_good_checkpoint(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that diverges in a later epoch resumes from the epoch before, and fails with the same error again."""
    rising = {"name": "one_cycle", "start": 0.0, "warmup": 0.99}
    optimizer = {"name": "sgd", "learning_rate": 1.0, "schedule": rising}
    wild = settings(task="regression", units=[], optimizer=optimizer, epochs=50)
    argv = arguments(folders, tmp_path / "wild", "wild", wild=wild)
    first = expect_error(main, argv, capsys)
    with pytest.raises(InvalidInput) as second:
        main(argv)
    assert first == (2, f"error: {second.value}\n")
    epoch = re.search(r"models\.wild: the (?:validation )?loss became \S+ (?:in|after) epoch (\d+)", str(second.value))
    assert epoch
    assert f"wild: resumes from the checkpoint of epoch {int(epoch[1]) - 1}\n" in capsys.readouterr().out


def test_unknown_model_is_named(folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is not in params.yaml is refused, with the most similar name in it."""
    code, sentence = expect_error(main, arguments(folders, tmp_path / "out", "cn"), capsys)
    assert code == 2
    assert "models: there is no key 'cn'; did you mean 'cnn'? known: cnn" in sentence
    assert not (tmp_path / "out").exists()


def test_too_small_images_are_refused(folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images too small for the convolutions are refused before the training."""
    deep = settings("cnn", filters=[4, 4, 4])
    code, sentence = expect_error(main, arguments(folders, tmp_path / "out", "deep", deep=deep), capsys)
    assert code == 2
    assert "models.deep: images with 11x14 pixels are too small: nothing is left after convolution 3 of 3" in sentence


@pytest.mark.farm
def test_largest_fitting_network_is_trained(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network with one convolution less fits and is trained."""
    fits = settings("cnn", filters=[2, 2], epochs=1)
    assert main(arguments(folders, tmp_path / "out", "fits", fits=fits)) == 0


def test_file_in_place_of_the_folder(folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in place of the output folder is reported in one sentence, before the training."""
    (tmp_path / "out").write_text("a file")
    code, sentence = expect_error(main, arguments(folders, tmp_path / "out"), capsys)
    assert code == 1
    assert "cannot write" in sentence
    assert (tmp_path / "out").read_text() == "a file"


def test_input_is_validated_before_tensorflow_is_imported(folders: Folders, tmp_path: Path) -> None:
    """Help, invalid parameters and missing data are reported without importing Keras or TensorFlow."""
    for name in ("parameters", "data"):
        (tmp_path / name).mkdir()
    parameters = arguments(folders, tmp_path / "parameters/out", bad={"network": "cnn"})
    data = arguments(folders._replace(prepared=tmp_path / "none"), tmp_path / "data/out")
    program = (
        "import json, sys; from stages.base.errors import exit_with; from stages.train.training import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    try: code = exit_with(lambda: main(arguments))\n"
        "    except SystemExit as end: code = end.code\n"
        "    assert not {'keras', 'tensorflow', 'onnxruntime'} & set(sys.modules)\n"
        "    print('code', code, flush=True)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, json.dumps([["--help"], parameters, data])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert re.findall(r"^code .*$", process.stdout, re.MULTILINE) == ["code 0", "code 2", "code 2"]
    assert "Traceback" not in process.stderr


def test_an_export_of_an_earlier_training_is_named(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that replaces the model leaves the exports beside it, and names the command that makes each again."""
    out = tmp_path / "models" / "dense"
    (out / "saved_model").mkdir(parents=True)
    (out / "model.tflite").touch()
    assert main(arguments(folders, out, "dense", dense=settings(epochs=1))) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert [line.partition(" was made before this training")[0] for line in lines] == [
        f"warning: {out / name}" for name in ("model.tflite", "saved_model")
    ]
    assert lines[0].endswith(f"make it again: inkflow export {out / 'model.keras'} --format litert")
    assert (out / "model.tflite").exists() and (out / "saved_model").exists()
