"""Sentences about one model or the data set, which page and summary share."""

import math

import numpy as np

from stages.report.data_card import Data
from stages.report.formats import count, percent, plural, times
from stages.report.models.classifier import Classifier
from stages.report.models.model_facts import ModelFacts
from stages.report.statistics.scores import frequent_confusions

MAX_CONFUSIONS = 3  # named for each model
METRIC_TITLES = {
    "mae": "Mean absolute error",
    "auc": "AUC",
    "f1_score": "F1 score",
    "r2_score": "R²",
    "top_k_categorical_accuracy": "Top-k accuracy",
    "log_cosh_error": "Log-cosh error",
}


def calibration(model: Classifier) -> str:
    """Describes how well the probabilities agree with the accuracy in the bins."""
    bins, samples, confidence = model.scores.reliability, model.evaluation.samples, model.scores.confidence
    inside = bins["confidence"].between(bins["low95"], bins["high95"])
    sentences = [
        "Mean distance between predicted probability and accuracy (expected calibration error):"
        f" {100 * model.scores.calibration_error:.2f} points.",
        f"In {inside.sum()} of {plural(len(bins), 'bin')}, with {percent(bins.loc[inside, 'images'].sum() / samples)}"
        f" of the {model.noun}s, the mean probability lies within the 95% interval of the accuracy.",
    ]
    if not inside.all():
        outside = bins.loc[~inside]
        weights = outside["images"] * (outside["accuracy"] - outside["confidence"]).abs()
        worst = outside.iloc[int(weights.argmax())]
        images, correct = int(worst["images"]), round(worst["images"] * worst["accuracy"])
        sentences.append(
            f"The bin with the largest deviation, weighted by {model.noun}s: of {plural(images, model.noun)} with a"
            f" mean probability of {percent(worst['confidence'])}, {count(correct)} {'is' if correct == 1 else 'are'}"
            f" classified correctly ({percent(worst['accuracy'])}, interval {percent(worst['low95'])}"
            f" to {percent(worst['high95'])})."
        )
    low, high = model.interval
    position = "above" if confidence > high else "below" if confidence < low else "within"
    conclusion = {"above": ": overconfident", "below": ": underconfident", "within": ""}[position]
    sentences.append(
        f"The mean probability over all {model.noun}s is {percent(confidence)}, {position} the interval of the test"
        f" accuracy{conclusion}."
    )
    return " ".join(sentences)


def duplicates(data: Data) -> str:
    """Describes the test images that are also training images."""
    shared, conflicting, noun = len(data.duplicates.shared), data.duplicates.conflicting, data.description.noun
    if not shared:
        return f"No test {noun} is identical to a training {noun}."
    share = percent(shared / len(data.arrays.y_test))
    are = "is" if shared == 1 else "are"
    images = f"{plural(shared, f'test {noun}')} ({share}) {are} identical to training {noun}s"
    labels = f" ({count(conflicting)} of them with another label)" if conflicting else ""
    return f"{images}{labels}: the scores are too optimistic."


def groups(data: Data) -> str:
    """Describes the groups of each part, such as the writers, where whole groups were held out."""
    counts, noun = data.prepared.groups, data.group_noun
    if counts is None:
        return ""
    shared = f"{plural(counts.shared, noun)} in more than one part" if counts.shared else f"no {noun} in two parts"
    parts = f"{count(counts.train)} for training, {count(counts.validation)} for validation"
    if counts.test is None:
        return f"{parts}; {shared}; those of the test {data.description.noun}s are not known"
    return f"{parts}, {count(counts.test)} for the test; {shared}"


def repetitions(data: Data) -> str:
    """Describes the images that occur more than once in their part."""
    training, test, noun = data.duplicates.within_training, data.duplicates.within_test, data.description.noun
    if not training and not test:
        return f"No {noun} occurs twice in its part."
    parts = f"{plural(training, f'training {noun}')} and {plural(test, f'test {noun}')}"
    return f"{parts} repeat another {noun} of their part."


def unit(data: Data) -> str:
    """Returns what the numbers of a sample are."""
    return {"image": "pixels", "tokens": "tokens"}.get(data.description.kind, "features")


def scaling(data: Data) -> str:
    """Describes the scaling of samples that are no images."""
    if data.description.kind == "tokens":
        return "none: tokens are numbers of words"
    if data.prepared.normalise == "unit":
        return "unit: the range of each feature in the training part becomes 0 to 1"
    return "standard: each feature of the training part gets the mean 0 and the standard deviation 1"


def device(model: ModelFacts) -> str:
    """Describes the device of the training."""
    used, threads = model.training.device, model.training.threads
    parts = [used.kind.upper(), used.name, plural(threads, "thread") if threads and used.kind == "cpu" else ""]
    return ", ".join(filter(None, parts))


def stand_in(data: Data) -> str | None:
    """Returns the warning that the data set is only a stand-in for another one; None where it is not."""
    original, used = data.description.stand_in_for, data.description.name
    if original is None:
        return None
    return f"These numbers are from {used}, a stand-in for {original}: do not compare them with results on {original}."


def best_epoch(model: ModelFacts) -> int | None:
    """Returns the epoch with the lowest validation loss; None where every validation loss is NaN."""
    losses = model.history["val_loss"].to_numpy()
    return None if np.isnan(losses).all() else int(np.nanargmin(losses)) + 1


def validation_loss(model: ModelFacts) -> str:
    """Describes the epoch with the lowest validation loss, and what follows from it."""
    best, last = best_epoch(model), len(model.history)
    if math.isnan(model.training.validation.loss):
        return "There is no validation loss: no sample was held out (prepare.validation is 0)."
    if best is None:
        return "The validation loss was never a number: the training diverged."
    if last == 1:
        return "A single epoch shows no trend."
    if best == last:
        return f"The validation loss was lowest after the last epoch{_more_epochs(model)}."
    kept = f"the weights of epoch {model.training.kept_epoch} were kept" if model.params.keep == "best" else None
    return f"The validation loss was lowest after epoch {best} of {last}; {kept or 'later epochs did not lower it'}."


def _more_epochs(model: ModelFacts) -> str:
    schedule = model.params.optimizer.schedule
    if schedule is None or schedule.name in ("constant", "reduce_on_plateau"):
        return ": more epochs may help"
    return f", where the {schedule.name.replace('_', '-')} schedule has its lowest learning rate"


def confusions(model: Classifier) -> list[str]:
    """Describes the most frequent confusions, each as a phrase."""
    names, cells = model.class_names, frequent_confusions(model.confusion, MAX_CONFUSIONS)
    return [f"{names[cell.actual]} predicted as {names[cell.predicted]} ({times(cell.images)})" for cell in cells]


def curve_title(model: ModelFacts, quantity: str) -> str:
    """Returns the title of a learning curve."""
    if quantity == "loss":
        return f"Loss ({model.params.loss.removeprefix('sparse_').replace('_', ' ')})"
    return METRIC_TITLES.get(quantity) or quantity.replace("_", " ").capitalize()


def curve_description(model: ModelFacts, quantity: str) -> str:
    """Returns the alternative text of a learning curve."""
    last, best = len(model.history), best_epoch(model)
    curves = {"training": model.history[quantity], "validation": model.history[f"val_{quantity}"]}
    spans = [
        f"{part} from {values.iloc[0]:.4f} to {values.iloc[-1]:.4f}"
        for part, values in curves.items()
        if values.notna().any()
    ]
    mark = f"; best epoch {best}" if best else ""
    return f"{curve_title(model, quantity)} of {model.name} over {last} epochs: {', '.join(spans)}{mark}."


def limitations(model: ModelFacts) -> str:
    """Describes the limits of a model, for its card."""
    prefix = f"Measured on this data set only. Even for an unsuitable {model.noun} it predicts {model.output}."
    if model.noun != "image":
        return f"{prefix} Values unlike those of the training data make predictions worse."
    network = {
        "dense": "A dense network depends on the position of each pixel: shifted or scaled images are predicted worse.",
        "cnn": "Convolutions tolerate small shifts; rotated or much larger images are predicted worse.",
        "conv1d": "Its convolutions run over the rows: rotation and sideways shifts make predictions worse.",
        "custom": "What its own layers make of shifted, rotated or scaled images was not measured.",
        "recurrent": "It reads the rows from the top: rotation and sideways shifts make predictions worse.",
    }[model.params.network]
    return f"{prefix} {network}"
