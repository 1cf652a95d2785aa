"""Every choice in params.yaml learns: optimizers and schedules, losses and tasks, activations, networks."""

from typing import Any, get_args

import numpy as np
import pytest

from stages.model.augmentation_config import Augmentation
from stages.model.compatibility import COMPATIBLE_LOSSES
from stages.model.config import Model, ModelBase
from stages.model.field_types import Activation
from stages.model.optimizer_config import Optimizer, OptimizerName, ScheduleName
from stages.model.tasks import encode, sample_weights
from stages.train.progress import Epoch
from tests.support.learning import CLASSES, Folders, make_model

keras = pytest.importorskip("keras")  # after tests.support.learning, which loads it quietly

from stages.train import fit, losses, networks, optimizers, training_model  # noqa: E402  (import Keras)
from stages.train.augmentation import distortion  # noqa: E402  (imports Keras)

RATES = {"sgd": 0.1, "rmsprop": 0.005, "adagrad": 0.1}  # of the others 0.01
COMBINATIONS = [
    (task, loss, output)
    for task, fits in COMPATIBLE_LOSSES.items()
    for loss, fit in fits.items()
    for output in fit.outputs
]
COMBINATIONS.sort(key=lambda combination: combination[0] != "two_class")  # most other tests train multiclass models
AFFINE = {"rotation": 10.0, "zoom": 0.1, "shift": 0.1}
TASK_OPTIONS: dict[str, dict[str, Any]] = {
    "multiclass": {},
    "two_class": {"positive": [1, 3]},
    "regression": {"values": [1.0, 2.0, 3.0, 4.5]},
}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("dense", {"units": [16, 16], "form": "functional", "skip": True, "activation": "tanh"}),
    "normalised": ("dense", {"batch_normalisation": True, "l1": 1e-4, "dropout": 0.2}),
    "cnn": ("cnn", {"padding": "same", "repeat": 2, "batch_normalisation": True, "l2": 1e-3, "form": "functional"}),
    "conv1d": ("conv1d", {"dropout": 0.2, "pool_dropout": 0.1}),
    "simple_rnn": ("recurrent", {"cell": "simple_rnn"}),
    "lstm": ("recurrent", {"cell": "lstm", "recurrent_units": [12, 12]}),
    "gru": ("recurrent", {"cell": "gru", "units": [], "dropout": 0.1}),
}
QUICK_NETWORKS = ("dense", "simple_rnn")  # the others in `make test-farm`; test_train.py trains a CNN


def learn(folders: Folders, model: Model) -> tuple[Any, list[Epoch]]:
    """Returns the trained network and its history."""
    data = folders.data
    network = networks.build(model, data.prepared.shape, data.prepared.classes)
    trained = training_model.build_training_model(network, model)
    fit.compile_network(trained, model, len(data.train.labels))
    return network, fit.fit(trained, data, "tried", model).history


def falls(history: list[Epoch]) -> bool:
    """Returns whether the loss of the last epoch is below that of the first."""
    return history[-1].loss < history[0].loss


@pytest.mark.cases(1)
@pytest.mark.parametrize("schedule", get_args(ScheduleName))
@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimizer_learns_with_every_schedule(folders: Folders, name: str, schedule: str) -> None:
    """The loss falls with each optimizer and each schedule of its learning rate."""
    optimizer = {"name": name, "learning_rate": RATES.get(name, 0.01), "schedule": {"name": schedule}}
    assert falls(learn(folders, make_model(optimizer=optimizer))[1])


@pytest.mark.cases(1)
@pytest.mark.parametrize(("task", "loss", "output"), COMBINATIONS)
def test_every_loss_learns_its_task(folders: Folders, task: str, loss: str, output: str) -> None:
    """The loss falls for each loss, task and output that the schema allows."""
    model = make_model(task=task, loss=loss, output=output, **TASK_OPTIONS[task])
    assert falls(learn(folders, model)[1])


@pytest.mark.farm  # `dense` of NETWORKS learns with tanh, the others with relu
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_learns(folders: Folders, activation: str) -> None:
    """The loss falls with each activation."""
    assert falls(learn(folders, make_model(activation=activation))[1])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK_NETWORKS else pytest.mark.farm) for name in NETWORKS]
)
def test_every_network_learns(folders: Folders, name: str) -> None:
    """The loss falls with each kind of network and each kind of regularisation."""
    network, options = NETWORKS[name]
    assert falls(learn(folders, make_model(network, **({"epochs": 3} | options)))[1])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (None, {0: 0.5, 99: 0.5}),
        ({"name": "exponential", "factor": 0.5}, {0: 0.5, 10: 0.25, 15: 0.5**2.5, 100: 0.5**11}),
        ({"name": "exponential", "factor": 0.5, "staircase": True}, {9: 0.5, 10: 0.25, 19: 0.25}),
        ({"name": "cosine"}, {0: 0.5, 50: 0.25, 100: 0.0}),
        ({"name": "cosine", "end": 0.1}, {0: 0.5, 50: 0.275, 100: 0.05}),
        (
            {"name": "one_cycle", "start": 0.2, "end": 0.1, "warmup": 0.5},
            {0: 0.1, 25: 0.3, 50: 0.5, 75: 0.275, 100: 0.05},
        ),
    ],
)
def test_schedules_are_their_formulas(schedule: dict[str, Any] | None, rates: dict[int, float]) -> None:
    """The learning rate over 10 epochs of 10 steps follows the formula of its schedule."""
    config = Optimizer.model_validate({"name": "sgd", "learning_rate": 0.5, "schedule": schedule})
    rate = optimizers.learning_rate(config, 10, 10)
    actual = {step: float(rate(step)) if callable(rate) else rate for step in rates}
    assert actual == pytest.approx(rates, abs=1e-6)


def test_decay_divides_the_rate() -> None:
    """With `decay` the rate at step t is divided by 1 + decay * t."""
    config = Optimizer.model_validate({"name": "sgd", "learning_rate": 0.5, "decay": 0.1})
    rate = optimizers.learning_rate(config, 10, 10)
    assert [float(rate(step)) for step in (0, 10, 90)] == pytest.approx([0.5, 0.25, 0.05])


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_optimizer_options_arrive(name: str) -> None:
    """Options that are set reach Keras; the others keep Keras's defaults."""
    options = {"momentum": 0.5} if name in ("sgd", "rmsprop") else {}
    config = Optimizer.model_validate({"name": name, "weight_decay": 0.01, **options})
    keras_config = optimizers.make_optimizer(config, 1, 1).get_config()
    default = optimizers.OPTIMIZERS[name]().get_config()
    assert {key: keras_config[key] for key in options} == options
    assert keras_config["weight_decay"] == 0.01
    assert keras_config["learning_rate"] == pytest.approx(default["learning_rate"])


@pytest.mark.parametrize(
    ("settings", "encoded"),
    [
        ({}, [2, 0]),
        ({"loss": "categorical_crossentropy"}, [[0, 0, 1, 0], [1, 0, 0, 0]]),
        ({"loss": "hinge", "output": "logits"}, [[-1, -1, 1, -1], [1, -1, -1, -1]]),
        ({"task": "two_class", "positive": [0, 1]}, [[0], [1]]),
        ({"task": "regression"}, [[2], [0]]),
        ({"task": "regression", "values": [0.5, 1.0, 2.5, 3.0]}, [[2.5], [0.5]]),
    ],
)
def test_labels_are_encoded_for_the_loss(settings: dict[str, Any], encoded: list[Any]) -> None:
    """Loss and task decide the encoding: integers, one-hot vectors, signs, 0 and 1, or numbers."""
    assert encode(np.array([2, 0]), make_model(**settings), CLASSES).tolist() == encoded


def test_label_smoothing_spreads_a_share_over_all_classes() -> None:
    """The loss of a certain prediction is that of the smoothed label, by hand; without smoothing it is near 0."""
    label, scores = np.eye(CLASSES, dtype=np.float32)[[1]], np.full((1, CLASSES), -10.0, np.float32)
    scores[0, 1] = 10
    for smoothing, expected in ((0.0, 0.0), (0.2, 0.2 * 20 * (CLASSES - 1) / CLASSES)):
        model = make_model(loss="categorical_crossentropy", output="logits", label_smoothing=smoothing)
        assert float(losses.make_loss(model)(label, scores)) == pytest.approx(expected, abs=1e-4)


def test_sample_weights_follow_class_weights() -> None:
    """Each sample has the weight of its class; balanced weights give each class the same sum."""
    labels = np.array([0, 0, 0, 1])
    explicit = sample_weights(labels, make_model(class_weights=[1.0, 2.0, 0.0, 1.0]), CLASSES)
    assert explicit is not None and explicit.tolist() == [1, 1, 1, 2]
    for model in (make_model(balance=True), make_model(task="two_class", positive=[1], balance=True)):
        weights = sample_weights(labels, model, CLASSES)
        assert weights is not None
        assert weights[:3].sum() == pytest.approx(weights[3]) == pytest.approx(2)
    assert sample_weights(labels, make_model(), CLASSES) is None


def test_classes_of_weight_0_are_not_learnt(folders: Folders) -> None:
    """A class of weight 0 is never predicted, although the data has samples of it."""
    network, _ = learn(folders, make_model(class_weights=[1.0, 1.0, 1.0, 0.0], epochs=4))
    predicted = np.asarray(network(folders.data.validation.images[:60])).argmax(axis=1)
    assert set(predicted) == {0, 1, 2}


@pytest.mark.farm
def test_early_stopping_and_the_best_epoch(folders: Folders) -> None:
    """Training stops when the validation loss has not fallen for `patience` epochs, and keeps the best weights."""
    data = folders.data
    wrong = data.validation._replace(labels=(data.validation.labels + 1) % CLASSES)  # learning raises the loss
    model = make_model(early_stopping={"patience": 2}, keep="best", epochs=30)
    network = networks.build(model, data.prepared.shape, CLASSES)
    fit.compile_network(network, model, len(data.train.labels))
    history = fit.fit(network, data._replace(validation=wrong), "tried", model).history
    losses_by_epoch = [epoch.val_loss for epoch in history]
    assert len(history) < 30
    assert losses_by_epoch.index(min(losses_by_epoch)) == len(history) - 3
    network.compile(loss=losses.make_loss(model))
    images, labels = (np.asarray(part[:60]) for part in (wrong.images, wrong.labels))
    assert network.evaluate(images, labels, verbose=0)[0] == pytest.approx(min(losses_by_epoch), rel=1e-5)


@pytest.mark.farm
@pytest.mark.parametrize(
    "changes",
    [
        AFFINE | {"elastic": 0.05},
        pytest.param(AFFINE, marks=pytest.mark.farm),
        pytest.param({"elastic": 0.05}, marks=pytest.mark.farm),
    ],
)
def test_augmentation_applies_only_to_training(folders: Folders, changes: dict[str, float]) -> None:
    """The exported network has no augmentation layer; equal seeds give equal trainings, which augmentation changes."""
    model = make_model("cnn", augmentation=changes)
    first, history = learn(folders, model)
    again, repeated = learn(folders, model)
    _, plain = learn(folders, make_model("cnn"))
    assert history == repeated != plain
    assert all(np.array_equal(*pair) for pair in zip(first.get_weights(), again.get_weights(), strict=True))
    assert [layer.name for layer in first.layers] == ["conv2d", "max_pooling2d", "flatten", "dense", "dense_1"]


def test_distortions_follow_their_geometry() -> None:
    """A shift moves whole pixels, half a turn is both mirrors, a zoom of 2 doubles distances from the centre."""
    image = np.arange(30, dtype=np.float32).reshape(1, 5, 6, 1)

    def changed(**changes: float) -> Any:
        values = {"angle": 0.0, "scale": 1.0, "down": 0.0, "right": 0.0} | changes
        arguments = {key: np.array([value], np.float32) for key, value in values.items()}
        transforms = distortion.affine_transforms(**arguments, size=(5, 6))
        result = np.asarray(keras.ops.image.affine_transform(image, transforms, "bilinear", "nearest"))[0, ..., 0]
        coordinates = distortion.source_coordinates(transforms, (5, 6))  # as for elastic distortions
        assert np.allclose(np.asarray(distortion.resample(image, coordinates))[0, ..., 0], result, atol=1e-4)
        return result

    plain = image[0, ..., 0]
    assert np.allclose(changed(), plain)
    assert np.allclose(changed(down=1.0, right=2.0)[1:, 2:], plain[:-1, :-2])
    assert np.allclose(changed(angle=np.pi), plain[::-1, ::-1], atol=1e-4)
    assert np.allclose(changed(scale=2.0)[2, 0:6], 12 + 2.5 + (np.arange(6) - 2.5) / 2)


def test_elastic_distortions_are_smooth_and_small() -> None:
    """Displacements are smooth and limited, and differ between images and between y and x, the two channels."""
    slope = np.arange(40, dtype=np.float32)
    image = np.stack(np.meshgrid(slope, slope, indexing="ij"), axis=-1)
    layer = distortion.Distortion(Augmentation(elastic=0.1), seed=0)
    distorted = np.asarray(layer(np.stack([image, image]), training=True))
    displacements = (distorted - image)[:, 8:-8, 8:-8]  # near the edge they are cut off
    assert 1 < np.abs(displacements).max() < 1.3 * 0.1 * 40  # bicubic interpolation overshoots a little
    assert all(np.abs(np.diff(displacements, axis=axis)).max() < 1 for axis in (1, 2))
    assert np.abs(displacements[0] - displacements[1]).max() > 1
    assert np.abs(displacements[..., 0] - displacements[..., 1]).max() > 1


def test_penalties_are_part_of_the_loss(folders: Folders) -> None:
    """The losses of the network contain the L1 and L2 penalties, by their formulas."""
    model: ModelBase = make_model(l1=0.01, l2=0.1)
    network = networks.build(model, (12, 14, 1), CLASSES)  # type: ignore[arg-type]
    weights = network.layers[1].get_weights()[0]
    assert float(sum(network.losses)) == pytest.approx(
        0.01 * np.abs(weights).sum() + 0.1 * (weights**2).sum(), rel=1e-5
    )
