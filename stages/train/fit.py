"""Teaching a network: one pass over the samples after another, each to be taken up again where it was cut off."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InvalidInput
from stages.model.config import Model
from stages.model.tasks import task_of
from stages.samples.prepared import Part, TrainingData, sample_order
from stages.train.backends.backend import load_backend
from stages.train.backends.interface import Loop
from stages.train.batches import Batches, feed
from stages.train.checkpoints import Checkpoint, Checkpoints
from stages.train.early_stopping import best_epoch, should_stop
from stages.train.losses import make_loss, make_metric, metric_name
from stages.train.optimizers import make_optimizer
from stages.train.progress import Epoch, ProgressReporter

STEPS_PER_CALL = 256  # steps before Python hears of it: often enough for a bar, too seldom to cost anything
EVALUATION_BATCH = 1000  # samples; changes nothing but speed and rounding


class Lesson(NamedTuple):
    """A compiled network that learns as the model, which is called `name`, says."""

    name: str
    model: Model
    network: Any
    loop: Loop
    train: Batches
    validation: Batches
    watch: ProgressReporter


class Fitted(NamedTuple):
    """What a training was: each epoch, and the seconds that all its pieces took together."""

    history: list[Epoch]
    seconds: float


def compile_network(network: Any, model: Model, samples: int) -> None:
    """Give `network`, which is to learn from so many `samples`, its optimizer, loss and metric."""
    network.compile(
        optimizer=make_optimizer(model.optimizer, model.epochs, math.ceil(samples / model.batch_size)),
        loss=make_loss(model),
        metrics=[make_metric(model)],
        jit_compile=False,  # the loop compiles
    )
    network.optimizer.build(network.trainable_variables)


def fit(network: Any, data: TrainingData, name: str, model: Model, checkpoints: Checkpoints | None = None) -> Fitted:
    """Train the compiled `network` for all epochs of `model`, called `name`, or until early stopping.

    It goes on from a checkpoint where a fitting one is. At the end the network has the weights of the last epoch or of
    the best one, as the model's `keep` says.

    Raises:
        InvalidInput: the loss is not finite any more.
    """
    start = time.perf_counter()
    saved = checkpoints.load() if checkpoints else None
    start -= saved.fit_s if saved else 0
    history = _take_up(network, saved, name) if saved else []
    best = saved.best if saved else []
    loop, classes = load_backend().make_loop(network), data.prepared.classes
    feeds = feed(loop, data.train, model, classes, weighted=True), feed(loop, data.validation, model, classes)
    steps = math.ceil(len(data.train.labels) / model.batch_size)
    with ProgressReporter(model.epochs, steps, metric_name(model)) as watch:
        lesson = Lesson(name, model, network, loop, *feeds, watch)
        while len(history) < model.epochs and not should_stop(_losses(history), model.early_stopping):
            history.append(fit_epoch(lesson, len(history)))
            watch.epoch(history[-1])
            if model.keep == "best" and best_epoch(_losses(history)) == len(history) - 1:
                best = network.get_weights()
            if checkpoints:
                checkpoints.save(Checkpoint(history, _state(network), best, time.perf_counter() - start))
    if best:
        network.set_weights(best)
    return Fitted(history, time.perf_counter() - start)


def fit_epoch(lesson: Lesson, epoch: int) -> Epoch:
    """One pass over the training samples, in an order of our own; `epoch` counts from 0.

    Raises:
        InvalidInput: the loss is not finite any more.
    """
    network, model, train = lesson.network, lesson.model, lesson.train
    order = sample_order(model.seed, epoch, train.samples) if model.shuffle else np.arange(train.samples)
    network.reset_metrics()
    step = 0
    for held, rows in train.batches(order, model.batch_size, STEPS_PER_CALL):
        bad = lesson.loop.train(held, rows)
        if bad is not None:
            loss, _ = _results(network, model, train.samples)
            raise InvalidInput(_diverged(lesson.name, "loss", loss, f"in epoch {epoch + 1}, by step {step + bad + 1}"))
        step += len(rows)
        lesson.watch.step(epoch + 1, step, *_results(network, model, train.samples))
    done = Epoch(
        epoch + 1, *_results(network, model, train.samples), *_test(network, lesson.loop, lesson.validation, model)
    )
    if not math.isfinite(done.val_loss):
        raise InvalidInput(_diverged(lesson.name, "validation loss", done.val_loss, f"after epoch {epoch + 1}"))
    return done


def score(network: Any, part: Part, model: Model, classes: int) -> dict[str, float]:
    """Loss, metric and accuracy of `network` on `part`, dropout off."""
    judge = keras.Model(network.inputs, network.outputs)  # `network` stays without a loss, as it is to be saved
    judge.compile(loss=make_loss(model), metrics=[make_metric(model)], jit_compile=False)
    loop = load_backend().make_loop(judge)
    found = _test(judge, loop, feed(loop, part, model, classes), model)
    scores = dict(zip(("loss", metric_name(model)), found, strict=True))
    return scores | ({"accuracy": _near(judge, part, model, classes)} if model.task == "regression" else {})


def _near(network: Any, part: Part, model: Model, classes: int) -> float:
    """Share of the samples for which the number of the right label is the nearest to what `network` predicts."""
    right = 0
    for start in range(0, len(part.labels), EVALUATION_BATCH):
        rows = slice(start, start + EVALUATION_BATCH)
        values = np.asarray(network.predict_on_batch(part.images[rows]))[:, 0]
        right += int((task_of(model).nearest(values, classes) == part.labels[rows]).sum())
    return right / len(part.labels)


def _test(network: Any, loop: Loop, part: Batches, model: Model) -> tuple[float, float]:
    network.reset_metrics()
    for held, rows in part.batches(np.arange(part.samples), EVALUATION_BATCH, STEPS_PER_CALL):
        loop.test(held, rows)
    return _results(network, model, part.samples)


def _results(network: Any, model: Model, samples: int) -> tuple[float, float]:
    """Loss, and accuracy or what else the task is measured by."""
    found, name = network.get_metrics_result(), metric_name(model)
    share = float(found[name])
    return float(found["loss"]), exact_share(share, samples) if name == "accuracy" else share


def exact_share(share: float, samples: int) -> float:
    """The share of `samples` that float32 `share` stands for: a whole number of them."""
    return round(share * samples) / samples if math.isfinite(share) else share


def _state(network: Any) -> list[NDArray[Any]]:
    """All that a training changes: weights, the states of random layers, and the optimizer's variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in _variables(network)]


def _variables(network: Any) -> Sequence[Any]:
    return [*network.variables, *network.optimizer.variables]


def _take_up(network: Any, saved: Checkpoint, name: str) -> list[Epoch]:
    """Put the network where the checkpoint left it; the history so far."""
    for variable, value in zip(_variables(network), saved.state, strict=True):
        variable.assign(value)
    print(f"{name}: goes on from a checkpoint, after epoch {len(saved.history)}", flush=True)
    return list(saved.history)


def _losses(history: Sequence[Epoch]) -> list[float]:
    return [epoch.val_loss for epoch in history]


def _diverged(name: str, what: str, loss: float, when: str) -> str:
    return (
        f"models.{name}: the {what} became {loss} {when}, "
        "expected a finite number; choose a smaller optimizer.learning_rate"
    )
