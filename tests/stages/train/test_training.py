"""Training: losses, scores, sample order, repeatability, divergence, and refusal of invalid data."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from stages.base.errors import DataError, InvalidInput
from stages.model.config import Model
from stages.model.tasks import encode
from stages.samples.prepared import Part, raw_pixels, read_training_data, sample_order
from stages.train.progress import Epoch, ProgressReporter, columns
from tests.support.learning import Folders, make_model, patterns, write_data

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, networks, training_model  # noqa: E402  (import Keras)

DROPOUT: dict[str, Any] = {"dropout": 0.5, "seed": 3}


def learn(folders: Folders, model: Model) -> tuple[Any, list[Epoch]]:
    """Returns the trained network and its history."""
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    network = training_model.build_training_model(network, model)
    fit.compile_network(network, model, len(data.train.labels))
    return network, fit.fit(network, data, "tried", model).history


@pytest.mark.farm
def test_equivalent_losses_and_outputs(folders: Folders) -> None:
    """Integer or one-hot labels, probabilities or logits: the history is the same except for rounding."""
    histories = [
        np.array(learn(folders, make_model(loss=loss, output=output))[1])
        for loss in ("sparse_categorical_crossentropy", "categorical_crossentropy")
        for output in ("softmax", "logits")
    ]
    assert histories[0][-1, 1] < histories[0][0, 1]
    for other in histories[1:]:
        assert np.allclose(histories[0], other, atol=1e-3)


@pytest.mark.farm
def test_patterns_are_learnt(folders: Folders) -> None:
    """A CNN learns the patterns in a few epochs; `score` gives the validation scores of the history."""
    model = make_model("cnn", epochs=6, dropout=0.1)
    network, history = learn(folders, model)
    score = fit.score(network, folders.data.validation, model, 4)
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert score["accuracy"] >= 0.95
    assert score == pytest.approx({"loss": history[-1].val_loss, "accuracy": history[-1].val_metric})


@pytest.fixture(scope="module")
def trained(folders: Folders) -> tuple[Any, list[Epoch]]:
    """A network trained with dropout, and its history."""
    return learn(folders, make_model(**DROPOUT))


def test_score_is_the_mean_cross_entropy(folders: Folders, trained: tuple[Any, list[Epoch]]) -> None:
    """Loss and accuracy are those that NumPy computes from the network's probabilities, without dropout."""
    model, (network, _) = make_model(**DROPOUT), trained
    images, labels = folders.data.validation.images[:], folders.data.validation.labels
    probabilities = np.asarray(network(images), np.float64)
    score = fit.score(network, Part(images, labels), model, 4)
    assert score["loss"] == pytest.approx(-np.log(probabilities[np.arange(len(labels)), labels]).mean(), abs=1e-5)
    assert score["accuracy"] == (probabilities.argmax(axis=1) == labels).sum() / len(labels)


def test_score_of_equal_values(folders: Folders) -> None:
    """Labels of one value are one answer: values on the right side of the middle are right."""
    model = make_model(task="regression", values=[0.0, 1.0, 0.0, 1.0], epochs=1)
    network = networks.build(model, folders.data.prepared.shape, 4)
    images, labels = folders.data.validation.images[:], folders.data.validation.labels
    *weights, bias = network.get_weights()
    network.set_weights([*weights, bias + 0.5 - np.median(network(images))])  # half of the values on each side
    values = np.asarray(network(images))[:, 0]
    score = fit.score(network, Part(images, labels), model, 4)
    assert score["accuracy"] == ((values > 0.5) == labels % 2).mean()


def test_training_is_repeatable(folders: Folders, trained: tuple[Any, list[Epoch]]) -> None:
    """The same seed gives the same history, also with dropout; test_seeds.py has trainings of different seeds."""
    assert learn(folders, make_model(**DROPOUT))[1] == trained[1]


@pytest.mark.farm  # test_train.py has such a training by the stage's program
def test_infinite_loss_stops_the_training(folders: Folders) -> None:
    """A loss that is not finite stops the training with a sentence that names model and epoch."""
    data = folders.data
    huge = data._replace(train=Part(data.train.images[:] * np.float32(3e38), data.train.labels))
    model = make_model(output="logits")
    network = networks.build(model, data.prepared.shape, 4)
    fit.compile_network(network, model, len(data.train.labels))
    with pytest.raises(InvalidInput, match=r"models\.wild: the loss became (nan|inf) in epoch 1, by step \d+, .*rate"):
        fit.fit(network, huge, "wild", model)


def test_infinite_validation_loss_stops_the_training(folders: Folders) -> None:
    """A loss that is infinite only on the validation samples stops the training after its first epoch."""
    data = folders.data
    huge = data._replace(validation=Part(data.validation.images[:] * np.float32(3e38), data.validation.labels))
    model = make_model(task="regression")
    network = networks.build(model, data.prepared.shape, 4)
    fit.compile_network(network, model, len(data.train.labels))
    with pytest.raises(InvalidInput, match=r"models\.wild: the validation loss became (nan|inf) after epoch 1, .*rate"):
        fit.fit(network, huge, "wild", model)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    """Every epoch has every sample once, in an order that depends on seed and epoch alone."""
    assert sample_order(0, 0, 8).tolist() == sample_order(0, 0, 8).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    orders = {tuple(sample_order(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(50)) for order in orders)


@pytest.mark.farm
def test_samples_keep_their_order_without_shuffling(folders: Folders) -> None:
    """Without shuffling the weights are repeatable, and others than with shuffling."""
    networks = [learn(folders, make_model(shuffle=shuffle))[0] for shuffle in (False, False, True)]
    ordered, again, shuffled = ([weight.tobytes() for weight in network.get_weights()] for network in networks)
    assert ordered == again != shuffled


def test_one_hot_vectors() -> None:
    """A one-hot vector is 1 at the label and 0 elsewhere."""
    model = make_model(loss="categorical_crossentropy")
    assert encode(np.array([2, 0]), model, 3).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("shape", [(12, 14), (12, 14, 1), (12, 14, 3)])
def test_preparation_can_be_undone(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """`raw_pixels` restores raw pixels from prepared images, with black in place of the cropped pixels."""
    crop = {"top": 1, "bottom": 2, "left": 3, "right": 4}
    data = write_data(tmp_path, shape, crop=crop, normalise="standard").data
    raw = raw_pixels(data.validation.images[:], data.prepared)
    assert raw.shape[1:] == shape
    assert not raw[:, 0].any() and not raw[:, :, :3].any() and not raw[:, -2:].any() and not raw[:, :, -4:].any()
    originals = {image[1:-2, 3:-4].tobytes() for image in patterns(240, shape)[0]}
    assert all(image[1:-2, 3:-4].round().astype(np.uint8).tobytes() in originals for image in raw)


def truncate(folder: Path) -> None:
    """Truncates x_train.npy to its first half."""
    path = folder / "x_train.npy"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_shape(folder: Path) -> None:
    """Writes prepared.json for images of another shape."""
    content = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps(content | {"shape": [3, 3, 1]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "prepared.json").unlink(), r"prepared\.json: cannot be read"),
        (lambda folder: (folder / "prepared.json").write_text("{}"), "classes is not as expected"),
        (lambda folder: (folder / "y_train.npy").unlink(), r"y_train\.npy: cannot be read"),
        (lambda folder: (folder / "y_train.npy").write_bytes(b""), r"y_train\.npy: is not a NumPy array"),
        (
            lambda folder: np.save(folder / "y_train.npy", np.full(180, 4)),
            "y_train.npy holds int64 .* 0 to 3",
        ),
        (lambda folder: np.save(folder / "y_train.npy", np.zeros(180)), "y_train.npy holds float64"),
        (
            lambda folder: np.save(folder / "y_train.npy", np.array(1)),
            "y_train.npy: is not .*int64 of shape \\(\\)",
        ),
        (
            lambda folder: np.save(folder / "x_train.npy", np.zeros((180, 12, 14, 1))),
            "x_train.npy holds float64",
        ),
        (truncate, "x_train"),
        (change_shape, r"expected float32 of \(180, 3, 3, 1\)"),
    ],
)
def test_invalid_data_is_refused(tmp_path: Path, damage: Any, message: str) -> None:
    """Prepared data that is missing, damaged or of another type is refused, with the command to run."""
    folder = write_data(tmp_path).prepared
    damage(folder)
    with pytest.raises(DataError, match=rf"(?s){message}.*stages\.prepare"):
        read_training_data(folder)


def test_log_has_a_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal the log has one plain line per epoch and nothing else."""
    with ProgressReporter(epochs=3, steps=10) as progress:
        progress.step(1, 10, 0.5, 0.75)
        progress.epoch(Epoch(1, 0.5, 0.75, 0.25, 1.0))
    line = "epoch 1/3  loss 0.5000  accuracy 0.7500  val_loss 0.2500  val_accuracy 1.0000\n"
    assert capsys.readouterr() == (line, "")


def test_terminal_has_a_bar() -> None:
    """On a terminal a bar shows epoch, loss, accuracy and the remaining time."""
    screen = io.StringIO()
    with ProgressReporter(epochs=3, steps=10, console=Console(file=screen, force_terminal=True, width=100)) as progress:
        progress.step(2, 5, 0.5, 0.75)
    assert "epoch 2/3" in screen.getvalue()
    assert "loss 0.5000  accuracy 0.7500" in screen.getvalue()
    assert "-:--:--" in screen.getvalue() or "0:00" in screen.getvalue()


def test_columns_of_the_history() -> None:
    """history.csv has the columns that the report and DVC's plots read."""
    assert columns("accuracy") == ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
    assert columns("mae") == ("epoch", "loss", "mae", "val_loss", "val_mae")
    assert columns("mae", ["auc"]) == ("epoch", "loss", "mae", "val_loss", "val_mae", "auc", "val_auc")
    assert len(columns("mae")) == len(Epoch(1, 0.5, 0.75, 0.25, 1.0)) == 5
