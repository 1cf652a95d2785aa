"""Trains a compiled network epoch by epoch, resumes it from a checkpoint, and scores it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from stages.base.errors import InvalidInput
from stages.model.config import Model
from stages.model.metrics_config import further_metrics
from stages.model.tasks import task_of
from stages.samples.prepared import Part, TrainingData, sample_order
from stages.train.backends.backend import load_backend
from stages.train.backends.interface import Loop
from stages.train.batches import Batches, make_batches
from stages.train.checkpoints import Checkpoint, CheckpointFile
from stages.train.custom.callbacks import Callbacks
from stages.train.custom.global_seeds import global_seeds
from stages.train.divergence import REMEDY, DivergenceWatch
from stages.train.early_stopping import best_epoch, should_stop
from stages.train.losses import make_loss, make_metric, metric_name
from stages.train.metrics import make_further_metrics, metric_values
from stages.train.optimizers import make_optimizer, set_plateau_rate
from stages.train.progress import Epoch, ProgressReporter

STEPS_PER_CALL = 256  # steps between two updates of the progress bar: more would not be faster
EVALUATION_BATCH = 1000  # samples; affects only speed and rounding


class FitResult(NamedTuple):
    """The history of a training, and its duration in seconds over all resumed runs."""

    history: list[Epoch]
    seconds: float


@dataclass(frozen=True)
class Trainer:
    """Trains the compiled `network` of `model`, called `name`, one epoch at a time."""

    name: str
    model: Model
    network: Any
    loop: Loop
    train: Batches
    validation: Batches | None  # None where `prepare.validation` is 0
    progress: ProgressReporter

    def run_epoch(self, epoch: int) -> Epoch:
        """Trains on all training samples once, then scores the validation samples; `epoch` counts from 0.

        Raises:
            InvalidInput: a loss is not finite.
        """
        model, samples = self.model, self.train.samples
        order = sample_order(model.seed, epoch, samples) if model.shuffle else np.arange(samples)
        self.network.reset_metrics()
        step = 0
        for arrays, indices in self.train.batches(order, model.batch_size, STEPS_PER_CALL):
            bad_step = self.loop.train(arrays, indices)
            loss, metric, *further = _loss_and_metrics(self.network, model, samples)
            if bad_step is not None:
                raise self._diverged("loss", loss, f"in epoch {epoch + 1}, by step {step + bad_step + 1}")
            step += len(indices)
            self.progress.step(epoch + 1, step, loss, metric)
        if self.validation is None:
            return Epoch(epoch + 1, loss, metric, math.nan, math.nan, *further, *[math.nan] * len(further))
        val_loss, val_metric, *val_further = _evaluate(self.network, self.loop, self.validation, model)
        result = Epoch(epoch + 1, loss, metric, val_loss, val_metric, *further, *val_further)
        if not math.isfinite(result.val_loss):
            raise self._diverged("validation loss", result.val_loss, f"after epoch {epoch + 1}")
        return result

    def _diverged(self, quantity: str, loss: float, when: str) -> InvalidInput:
        return InvalidInput(
            f"models.{self.name}: the {quantity} became {loss} {when}, expected a finite number; {REMEDY}"
        )


def compile_network(network: Any, model: Model, samples: int) -> None:
    """Compiles `network` with the optimizer, loss and metric of `model`, for a training part of `samples` samples."""
    network.compile(
        optimizer=make_optimizer(model.optimizer, model.epochs, math.ceil(samples / model.batch_size)),
        loss=make_loss(model),
        metrics=[make_metric(model), *make_further_metrics(model)],
        jit_compile=False,  # the backend's loop compiles
    )
    network.optimizer.build(network.trainable_variables)


def fit(
    network: Any,
    data: TrainingData,
    name: str,
    model: Model,
    checkpoint_file: CheckpointFile | None = None,
    observers: Sequence[Callable[[Sequence[Epoch]], None]] = (),
) -> FitResult:
    """Trains the compiled `network` for all epochs of `model`, called `name`, or until early stopping.

    It resumes from the checkpoint, if there is one. In the end the network has the weights of the last or of the best
    epoch, as the model's `keep` says. The `observers` get the history so far, after each epoch and at a resumption.

    Raises:
        InvalidInput: a loss is not finite, or diverged and did not recover.
    """
    start = time.perf_counter()
    history, best = list[Epoch](), list[NDArray[Any]]()
    seeds = global_seeds(model)  # before the first graph, in which TensorFlow creates no variable
    if checkpoint_file and (checkpoint := checkpoint_file.load()):
        start -= checkpoint.fit_s
        history, best = _restore(network, seeds, checkpoint, name), list(checkpoint.best)
        _notify(observers, history)
    loop, classes = load_backend().make_loop(network), data.prepared.classes
    train = make_batches(loop, data.train, model, classes, weighted=True)
    validation = make_batches(loop, data.validation, model, classes) if len(data.validation.labels) else None
    steps = math.ceil(len(data.train.labels) / model.batch_size)
    further = further_metrics(model.metrics)
    with ProgressReporter(model.epochs, steps, metric_name(model), further=further) as progress:
        trainer = Trainer(name, model, network, loop, train, validation, progress)
        watch = DivergenceWatch(name, model, data, history)
        callbacks = Callbacks(model.callbacks or [], network, model.epochs, steps)
        callbacks.train_begin()
        while _goes_on(history, model) and not (history and callbacks.stopped):  # as in Keras, after an epoch
            set_plateau_rate(network.optimizer, model.optimizer, _losses(history))
            callbacks.epoch_begin(len(history))
            history.append(trainer.run_epoch(len(history)))
            progress.epoch(history[-1])
            watch.epoch(history[-1])
            callbacks.epoch_end(len(history) - 1, progress.logs(history[-1]))
            if model.keep == "best" and best_epoch(_losses(history)) == len(history) - 1:
                best = network.get_weights()
            if checkpoint_file:
                checkpoint_file.save(Checkpoint(history, _state(network, seeds), best, time.perf_counter() - start))
            _notify(observers, history)
        callbacks.train_end(progress.logs(history[-1]))
    watch.check(history[best_epoch(_losses(history)) if best else -1])
    if best:
        network.set_weights(best)
    return FitResult(history, time.perf_counter() - start)


def _goes_on(history: Sequence[Epoch], model: Model) -> bool:
    """True if there are epochs left, and early stopping does not end the training."""
    return len(history) < model.epochs and not should_stop(_losses(history), model.early_stopping)


def _notify(observers: Sequence[Callable[[Sequence[Epoch]], None]], history: Sequence[Epoch]) -> None:
    for observer in observers:
        observer(history)


def score(network: Any, part: Part, model: Model, classes: int) -> dict[str, float]:
    """Returns loss, metrics and accuracy of `network` on `part`, without dropout."""
    copy = keras.Model(network.inputs, network.outputs)  # `network`, which will be saved, stays uncompiled
    metrics = [make_metric(model), *make_further_metrics(model)]
    copy.compile(loss=make_loss(model), metrics=metrics, jit_compile=False)
    loop = load_backend().make_loop(copy)
    results = _evaluate(copy, loop, make_batches(loop, part, model, classes), model)
    further = zip(further_metrics(model.metrics), results[2:], strict=True)
    scores = {"loss": results[0], metric_name(model): results[1]}
    scores |= {name: value for name, value in further if math.isfinite(value)}  # R² of one sample is not known
    if model.task == "regression":
        scores["accuracy"] = _nearest_label_accuracy(copy, part, model, classes)
    return scores


def _nearest_label_accuracy(network: Any, part: Part, model: Model, classes: int) -> float:
    """Returns the fraction of samples whose label has the number nearest to the predicted one."""
    correct = 0
    for start in range(0, len(part.labels), EVALUATION_BATCH):
        rows = slice(start, start + EVALUATION_BATCH)
        values = np.asarray(network.predict_on_batch(part.images[rows]))[:, 0]
        labels = part.labels[rows]
        correct += int((task_of(model).nearest_labels(values, labels, classes) == labels).sum())
    return correct / len(part.labels)


def _evaluate(network: Any, loop: Loop, part: Batches, model: Model) -> Sequence[float]:
    """Returns loss and metrics of `network` on all samples of `part`, without dropout."""
    network.reset_metrics()
    for arrays, indices in part.batches(np.arange(part.samples), EVALUATION_BATCH, STEPS_PER_CALL):
        loop.test(arrays, indices)
    return _loss_and_metrics(network, model, part.samples)


def _loss_and_metrics(network: Any, model: Model, samples: int) -> Sequence[float]:
    """Returns the current loss and metrics; an accuracy is rounded to the nearest multiple of 1 / samples."""
    results, name = network.get_metrics_result(), metric_name(model)
    metric = float(results[name])
    if name == "accuracy" and math.isfinite(metric):
        metric = round(metric * samples) / samples  # what float32 stands for
    return [float(results["loss"]), metric, *metric_values(results, model)]


def _state(network: Any, seeds: Sequence[Any]) -> list[NDArray[Any]]:
    """Returns copies of everything that a training changes: weights, random states, optimizer variables, `seeds`."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in _variables(network, seeds)]


def _variables(network: Any, seeds: Sequence[Any]) -> Sequence[Any]:
    return [*network.variables, *network.optimizer.variables, *seeds]


def _restore(network: Any, seeds: Sequence[Any], checkpoint: Checkpoint, name: str) -> list[Epoch]:
    """Sets the variables of `network`, and `seeds`, to those of the checkpoint and returns its history."""
    for variable, value in zip(_variables(network, seeds), checkpoint.state, strict=True):
        variable.assign(value)
    print(f"{name}: resumes from the checkpoint of epoch {len(checkpoint.history)}", flush=True)
    return list(checkpoint.history)


def _losses(history: Sequence[Epoch]) -> list[float]:
    return [epoch.val_loss for epoch in history]
