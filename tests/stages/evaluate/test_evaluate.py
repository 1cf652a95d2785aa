"""The evaluate stage: correct metrics, equal bytes every time, and refusal of unsuitable models."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.metrics import f1_score

from stages.data.config import Dataset
from stages.data.datasets import Arrays, describe, write_dataset
from stages.evaluate.evaluate import OUTPUTS, evaluate, main
from stages.evaluate.metrics import ClassPredictions, compute_metrics, macro_f1
from tests.support.root import ROOT
from tests.support.tiny_data import expect_error, snapshot

# The first four pixels of each of five test images; the model predicts softmax(pixels / 10).
PIXELS = [(30, 0, 0, 0), (0, 20, 0, 0), (0, 20, 0, 10), (0, 0, 0, 0), (0, 0, 10, 250)]
LABELS = [0, 1, 3, 0, 2]
PREDICTED = [0, 1, 1, 0, 3]
LOSSES = [
    math.log(math.exp(3) + 3) - 3,
    math.log(math.exp(2) + 3) - 2,
    math.log(math.exp(2) + math.exp(1) + 2) - 1,
    math.log(4),
    -math.log(1e-7),  # e^-24 is below MIN_PROBABILITY
]


def save_model(path: Path, shape: tuple[int, ...] = (8, 8), classes: int = 4, scale: float = 0.1) -> Path:
    """Writes an ONNX model whose probabilities are softmax(scale * the first pixels)."""
    size = math.prod(shape)
    weights = np.eye(size, classes, dtype=np.float32) * np.float32(scale)
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    return save_graph(path, nodes, shape, classes, {"flat": np.array([-1, size]), "weights": weights})


def save_graph(
    path: Path, nodes: list[Any], shape: tuple[int, ...], classes: int, constants: dict[str, NDArray[Any]]
) -> Path:
    """Writes `nodes` as an ONNX model from pixels to probabilities."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


class Evaluation:
    """A data set of five test images, a model, and the arguments of the stage."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.raw, self.out = folder, folder / "raw", folder / "out"
        self.model = save_model(folder / "model.onnx")
        images = np.zeros((5, 64), np.uint8)
        images[:, :4] = PIXELS
        test = (images.reshape(5, 8, 8), np.array(LABELS, np.uint8))
        train = (np.zeros((4, 8, 8), np.uint8), np.arange(4, dtype=np.uint8))
        arrays = Arrays(*train, *test)
        facts = describe("made", Dataset.model_validate({"title": "Made", "embedded": "digits"}), arrays)
        facts = facts.model_copy(update={"class_names": ("nought", "one, too", "two", "three")})
        write_dataset(self.raw, arrays, facts)

    @property
    def arguments(self) -> list[str]:
        """The command-line arguments of the stage."""
        paths = {"model": self.model, "raw": self.raw, "out": self.out}
        return [part for name, path in paths.items() for part in (f"--{name}", str(path))]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """Five test images and a model whose predictions are known."""
    return Evaluation(tmp_path)


def test_metrics_are_right_by_hand(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    """Accuracy, loss, errors and F1 are those computed by hand, and the log shows them."""
    assert main(evaluation.arguments) == 0
    metrics = json.loads((evaluation.out / "metrics.json").read_text())
    assert (metrics["accuracy"], metrics["errors"], metrics["samples"]) == (3 / 5, 2, 5)
    assert metrics["loss"] == pytest.approx(sum(LOSSES) / 5, abs=1e-6)
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 0 + 0) / 4)
    assert capsys.readouterr().out.startswith("accuracy 0.6  loss ")
    assert sorted(path.name for path in evaluation.out.iterdir()) == sorted(OUTPUTS)


def test_predictions_are_right_by_hand(evaluation: Evaluation) -> None:
    """The table has label, prediction, its probability, loss and all probabilities of each image."""
    evaluate(evaluation.model, evaluation.raw, evaluation.out)
    table = pd.read_parquet(evaluation.out / "predictions.parquet")
    types = {name: str(kind) for name, kind in table.dtypes.items()}
    integers = dict.fromkeys(("index", "label", "predicted"), "int32")
    assert types == integers | dict.fromkeys(("probability", "loss", "p0", "p1", "p2", "p3"), "float32")
    assert table["index"].tolist() == [0, 1, 2, 3, 4]
    assert table["label"].tolist() == LABELS
    assert table["predicted"].tolist() == PREDICTED
    assert table["loss"].to_numpy() == pytest.approx(LOSSES, abs=1e-5)
    powers = np.exp(np.array(PIXELS) / 10)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    assert table[["p0", "p1", "p2", "p3"]].to_numpy() == pytest.approx(probabilities, abs=1e-6)
    assert table["probability"].to_numpy() == pytest.approx(probabilities.max(axis=1), abs=1e-6)


def test_confusion_has_class_names(evaluation: Evaluation) -> None:
    """confusion.csv has the names of both classes of each image, also a name with a comma."""
    evaluate(evaluation.model, evaluation.raw, evaluation.out)
    table = pd.read_csv(evaluation.out / "confusion.csv")
    names = ("nought", "one, too", "two", "three")
    assert table["actual"].tolist() == [names[label] for label in LABELS]
    assert table["predicted"].tolist() == [names[predicted] for predicted in PREDICTED]


def test_same_bytes_in_another_process(evaluation: Evaluation) -> None:
    """The evaluation in another process gives the same bytes, and imports neither TensorFlow nor Keras."""
    evaluate(evaluation.model, evaluation.raw, evaluation.out)
    first = snapshot(evaluation.out)
    program = (
        "import sys; from stages.evaluate.evaluate import main; code = main(sys.argv[1:])\n"
        "assert not {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, *evaluation.arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert snapshot(evaluation.out) == first


def test_f1_is_that_of_scikit_learn() -> None:
    """The mean F1 equals that of scikit-learn, also with classes that never occur."""
    random = np.random.default_rng(3)
    labels = random.choice([0, 1, 2, 5], 200).astype(np.int32)
    probabilities = random.dirichlet(np.ones(7), 200).astype(np.float32)
    probabilities[:, 3] = 0  # never actual, never predicted
    predictions = ClassPredictions(probabilities, labels)
    expected = f1_score(labels, predictions.predicted, average="macro", zero_division=0)
    assert macro_f1(predictions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("correct", [0, 1, 6, 7])
def test_accuracy_is_exact(correct: int) -> None:
    """Accuracy is exactly the quotient of two counts, from no to all samples correct."""
    labels = np.array([0] * correct + [1] * (7 - correct), np.int32)
    metrics = compute_metrics(ClassPredictions(np.tile(np.array([0.75, 0.25], np.float32), (7, 1)), labels))
    assert metrics["accuracy"] == correct / 7
    assert metrics["errors"] == 7 - correct


def nan_model(path: Path) -> Path:
    """Writes a model that divides 0 by 0."""
    nodes = [
        helper.make_node("ReduceSum", ["pixels", "axes"], ["sum"], keepdims=0),
        helper.make_node("Sub", ["sum", "sum"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["nan"]),
        helper.make_node("Unsqueeze", ["nan", "last"], ["column"]),
        helper.make_node("Concat", ["column"] * 4, ["probabilities"], axis=1),
    ]
    constants = {"axes": np.array([1, 2]), "last": np.array([1])}
    return save_graph(path, nodes, (8, 8), 4, constants)


def logits_model(path: Path) -> Path:
    """Writes a model without softmax."""
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["probabilities"]),
    ]
    weights = np.eye(64, 4, dtype=np.float32)
    return save_graph(path, nodes, (8, 8), 4, {"flat": np.array([-1, 64]), "weights": weights})


def failing_model(path: Path) -> Path:
    """Writes a valid model that fails on five images, which it cannot reshape into rows of seven pixels."""
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["probabilities"]),
    ]
    weights = np.ones((7, 4), np.float32)
    return save_graph(path, nodes, (8, 8), 4, {"flat": np.array([-1, 7]), "weights": weights})


def truncate(path: Path) -> Path:
    """Truncates the file to its first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def remove(path: Path) -> Path:
    """Removes the file."""
    path.unlink()
    return path


def random_bytes(path: Path) -> Path:
    """Writes random bytes."""
    path.write_bytes(np.random.default_rng(0).bytes(2000))
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "cannot be read (No such file or directory)"),
        (random_bytes, "is not a valid ONNX model"),
        (lambda path: path.write_bytes(b""), "is not a valid ONNX model"),
        (truncate, "is not a valid ONNX model"),
        (
            lambda path: save_model(path, (9, 8)),
            "has an input of shape (batch, 9, 8), expected one of float32 (batch, 8, 8)",
        ),
        (lambda path: save_model(path, (8, 8, 1)), "has an input of shape (batch, 8, 8, 1)"),
        (
            lambda path: save_model(path, classes=3),
            "has an output of shape (batch, 3), expected one of float32 (batch, 4)",
        ),
        (lambda path: save_model(path, classes=5), "has an output of shape (batch, 5)"),
        (nan_model, "not all of them probabilities"),
        (logits_model, "not all of them probabilities"),
        (failing_model, "fails on images"),
    ],
)
def test_unsuitable_model_is_refused(
    evaluation: Evaluation, damage: Callable[[Path], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is missing, damaged, or for other data gives one sentence and exit code 2; no file is written."""
    evaluation.out.mkdir()
    (evaluation.out / "metrics.json").write_text("earlier")
    damage(evaluation.model)
    code, sentence = expect_error(main, evaluation.arguments, capsys)
    assert code == 2
    assert message in sentence
    assert str(evaluation.model) in sentence
    assert snapshot(evaluation.out) == {"metrics.json": b"earlier"}


def test_missing_data_is_refused(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the data set the error names the command that downloads it."""
    (evaluation.raw / "dataset.npz").unlink()
    code, sentence = expect_error(main, evaluation.arguments, capsys)
    assert code == 2
    assert "python -m stages.download" in sentence


def test_file_in_place_of_the_output_folder(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in place of the output folder is reported in one sentence, and the file stays."""
    evaluation.out.write_text("a file")
    code, sentence = expect_error(main, evaluation.arguments, capsys)
    assert code == 1
    assert "cannot write" in sentence
    assert evaluation.out.read_text() == "a file"


def test_each_seed_has_a_column_of_predictions(evaluation: Evaluation) -> None:
    """The models in the folder of seeds are scored too, in the order of the seeds; the other outputs stay the same."""
    evaluate(evaluation.model, evaluation.raw, evaluation.out)
    alone = snapshot(evaluation.out)
    for seed, scale in (("10", -0.1), ("2", 0.1)):
        (evaluation.folder / "seeds" / seed).mkdir(parents=True)
        save_model(evaluation.folder / "seeds" / seed / "model.onnx", scale=scale)
    assert main([*evaluation.arguments, "--seeds", str(evaluation.folder / "seeds")]) == 0
    table = pd.read_parquet(evaluation.out / "predictions.parquet")
    assert list(table)[-2:] == ["seed_2", "seed_10"]
    assert table["seed_2"].tolist() == PREDICTED != table["seed_10"].tolist()
    unchanged = ("metrics.json", "confusion.csv")
    assert all(snapshot(evaluation.out)[name] == alone[name] for name in unchanged)
    assert main([*evaluation.arguments, "--seeds", str(evaluation.raw)]) == 0
    assert snapshot(evaluation.out) == alone


def test_a_missing_folder_of_seeds_is_an_error(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of seeds that does not exist, or a seed without a model, ends the stage before it writes anything."""
    code, error = expect_error(main, [*evaluation.arguments, "--seeds", str(evaluation.folder / "none")], capsys)
    assert code == 2 and "none: not found" in error
    (evaluation.folder / "seeds/0").mkdir(parents=True)
    code, error = expect_error(main, [*evaluation.arguments, "--seeds", str(evaluation.folder / "seeds")], capsys)
    assert code == 2 and "model.onnx" in error and not evaluation.out.exists()
