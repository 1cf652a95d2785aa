"""What the report says of one model or of the data, as a person would; page and summary share every sentence."""

from collections.abc import Sequence

import numpy as np

from stages.report.facts import Facts
from stages.report.formats import count, number, percent, plural, times
from stages.report.model_facts import ModelFacts, Trained, ValueFacts
from stages.report.statistics.intervals import frequent_confusions

SLIGHT_POINTS = 1.0  # a real gap below this many percentage points is called slight
CONFUSIONS = 3  # named in words for each model


def calibration(model: ModelFacts) -> str:
    """How far the probabilities can be believed, as the bins show it."""
    bins, n, sure = model.scores.reliability, model.exam.samples, model.scores.confidence
    inside = bins["confidence"].between(bins["low95"], bins["high95"])
    parts = [
        f"On average the probability given and the share right lie {100 * model.scores.calibration_error:.2f} points"
        " apart (expected calibration error).",
        f"In {inside.sum()} of {plural(len(bins), 'bin')}, with {percent(bins.loc[inside, 'images'].sum() / n)} of the"
        " images, the mean probability lies within the 95% interval of the share right.",
    ]
    if not inside.all():
        outside = bins.loc[~inside]
        weights = outside["images"] * (outside["accuracy"] - outside["confidence"]).abs()
        far = outside.iloc[int(weights.argmax())]
        images, right = int(far["images"]), round(far["images"] * far["accuracy"])
        parts.append(
            f"What weighs most outside: of {plural(images, 'image')} with {far['confidence']:.1%} on average"
            f" {count(right)} {'is' if right == 1 else 'are'} right"
            f" ({far['accuracy']:.1%}, interval {far['low95']:.1%} to {far['high95']:.1%})."
        )
    low, high = model.interval
    lean = "above" if sure > high else "below" if sure < low else "within"
    called = {"above": ": too sure", "below": ": not sure enough", "within": ""}[lean]
    parts.append(f"Over all images it gives {percent(sure)}, {lean} the interval of its accuracy{called}.")
    return " ".join(parts)


def duplicates(facts: Facts) -> str:
    """Whether test images stand among the training images, in words."""
    found = facts.data.duplicates
    if not found.shared:
        return "No test image is equal to a training image."
    share = percent(len(found.shared) / len(facts.data.arrays.y_test))
    other = f", {count(found.conflicting)} of them with another label" if found.conflicting else ""
    n = count(len(found.shared))
    return f"{n} test images ({share}) are equal to a training image to the last pixel{other}: the scores flatter."


def repeated(facts: Facts) -> str:
    """How many images occur more than once in their part."""
    training, test = facts.data.duplicates.within_training, facts.data.duplicates.within_test
    if not training and not test:
        return "None occurs twice in its part."
    return f"{plural(training, 'training image')} and {plural(test, 'test image')} repeat another of their part."


def device(model: Trained) -> str:
    """What a model was trained on."""
    on, threads = model.training.device, model.training.threads
    noted = [on.kind.upper(), on.name, plural(threads, "thread") if threads and on.kind == "cpu" else ""]
    return ", ".join(filter(None, noted))


def stand_in(facts: Facts) -> str | None:
    """The warning that the numbers are not from the data set that was asked for."""
    wanted = facts.data.description.stand_in_for
    if wanted is None:
        return None
    used = facts.data.description.name
    source = f"These numbers are from {used}, a stand-in for {wanted}"
    return f"{source}: do not compare them with results on {wanted}."


def overfitting(model: ModelFacts) -> str | None:
    """What to call the gap when chance does not explain it."""
    if not model.overfits:
        return None
    return "over-fits slightly" if model.gap < SLIGHT_POINTS else "over-fits"


def best_epoch(model: Trained) -> int | None:
    """The epoch with the lowest validation loss; None when that was never a number."""
    losses = model.history["val_loss"].to_numpy()
    return None if np.isnan(losses).all() else int(np.nanargmin(losses)) + 1


def turning_point(model: Trained) -> str:
    """When the validation loss was lowest, and what that says."""
    best, last = best_epoch(model), len(model.history)
    if best is None:
        return "The validation loss was never a number: the training diverged."
    if last == 1:
        return "One epoch alone shows no trend."
    if best == last:
        return f"Validation loss was lowest after the last epoch{_what_next(model)}."
    kept = f"the weights of epoch {model.training.kept_epoch} were kept" if model.params.keep == "best" else None
    return f"Validation loss was lowest after epoch {best} of {last}; {kept or 'training on did not lower it'}."


def _what_next(model: Trained) -> str:
    """What a loss that was lowest at the end says of more epochs."""
    schedule = model.params.optimizer.schedule
    if schedule is None or schedule.name == "constant":
        return ": more epochs may help"
    return f", where the {schedule.name.replace('_', '-')} schedule had the learning rate at its lowest"


def confusions(model: ModelFacts, class_names: Sequence[str]) -> list[str]:
    """The most frequent confusions, each as a phrase."""
    cells = frequent_confusions(model.confusion, CONFUSIONS)
    return [f"{class_names[cell.actual]} read as {class_names[cell.predicted]} ({times(cell.times)})" for cell in cells]


def heading(model: Trained, quantity: str) -> str:
    """What a learning curve is called."""
    if quantity == "loss":
        return f"Loss ({model.params.loss.removeprefix('sparse_').replace('_', ' ')})"
    return {"mae": "Mean absolute error"}.get(quantity, quantity.capitalize())


def limits(model: Trained) -> str:
    """What a model cannot do, for its card."""
    network = {
        "dense": "A dense network reads each pixel by its place: shifted or scaled images are read worse.",
        "cnn": "Convolutions forgive small shifts; turned or much larger images are read worse.",
        "conv1d": "Its convolutions run down the rows: shifts to the side and turned images are read worse.",
        "recurrent": "It reads the rows from the top: shifts to the side and turned images are read worse.",
    }[model.params.network]
    given = "gives a value" if isinstance(model, ValueFacts) else "names one of its classes"
    return f"Measured on this data set alone. Whatever it is shown, it {given}, a blot too. {network}"


def scores(model: Trained) -> str:
    """What a model reached on the test images, for its card."""
    if isinstance(model, ValueFacts):
        low, high = map(number, model.interval)
        return (
            f"On {plural(len(model.misses), 'test image')}: mean absolute error {number(model.mean_error)}"
            f" (95% interval {low} to {high}), root mean square {number(model.root_error)}, R² {model.explained:.4f}"
        )
    assert isinstance(model, ModelFacts)  # there is no third kind
    low, high = map(percent, model.interval)
    return (
        f"On {plural(model.exam.samples, 'test image')}: accuracy {percent(model.exam.accuracy)} (95% interval {low} to"
        f" {high}, Wilson), log-loss {model.exam.loss:.4f}, Brier score {model.scores.brier:.4f}, calibration error"
        f" {model.scores.calibration_error:.4f}"
    )


def curve(model: Trained, quantity: str) -> str:
    """What a learning curve shows, for those who do not see it."""
    last, marked = len(model.history), best_epoch(model)
    spans = [
        f"{part} from {values.iloc[0]:.4f} to {values.iloc[-1]:.4f}"
        for part, values in (
            ("training", model.history[quantity]),
            ("validation", model.history[f"val_{quantity}"]),
        )
    ]
    best = f"; best epoch {marked}" if marked else ""
    return f"{heading(model, quantity)} of {model.name} over {last} epochs: {', '.join(spans)}{best}."
