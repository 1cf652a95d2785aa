"""How often the watch of a model errs, and how soon it finds a change: streams of MNIST's images, without a server.

Healthy streams are validation images drawn again, and samples of known distributions with a new reference each time.
Limits and rate come from the theory in `stages.watch`; nothing is chosen here. Test images are one of the changes:
"other writers", of whom the training part has none.
"""

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks import common
from benchmarks.support.measure import NO_TARGET
from stages.model.reference import CONFIDENCE, Distribution, Reference
from stages.predict.classifier import Classifier, open_classifier
from stages.predict.image_arrays import Images
from stages.predict.results import Prediction
from stages.predict.watcher import answers_of, compared, reference_of
from stages.samples.image_statistics import STATISTICS
from stages.train.doubt.reference import distribution
from stages.watch.comparisons import RATE, Comparison, comparisons
from stages.watch.observe import observe
from stages.watch.record import Record
from stages.watch.update import update

TARGET = f"at most {RATE:.0%} of the lifetimes of 200 weeks with an alarm; changes found within 500 images"
WEEKS, WEEK_IMAGES, LOOK = 200, 1000, 10
MOST_IMAGES, STREAMS, HEALTHY_BEFORE = 2000, 10, 100_000
ORDERED, JOBS = 20_000, (60, 300, 1000, 5000)
NOW = "2026-01-01T00:00:00+00:00"

Pixels = NDArray[np.float32]
Bins = NDArray[np.uint16]


class Watched(NamedTuple):
    """A model, what is compared, and the bins of its validation images."""

    classifier: Classifier
    reference: Reference
    compared: list[Comparison]
    validation: Pixels

    def bins(self, pixels: Pixels) -> Bins:
        """Returns the bins of images (n, 28, 28) in 0..255."""
        parts = []
        for start in range(0, len(pixels), 256):
            part = pixels[start : start + 256]
            answers = [one for one in self.classifier.answers(part) if isinstance(one, Prediction)]
            parts.append(observe(self.compared, self.reference, part, answers_of(answers)))
        return np.concatenate(parts)


def new_record() -> Record:
    """Returns a record of which nothing was seen."""
    return Record(model_sha256="0" * 64, model="m", rate=RATE, first=NOW, last=NOW)


def has_alarm_in_a_lifetime(items: list[Comparison], draw: Callable[[int], NDArray[Any]]) -> bool:
    """Returns whether 200 weeks of healthy images, looked at once a week, raise an alarm."""
    record = new_record()
    return any(bool(update(record, items, draw(WEEK_IMAGES), NOW)) for _ in range(WEEKS))


def after_healthy_images(items: list[Comparison], healthy: Bins, seed: int) -> Record:
    """Returns the record after HEALTHY_BEFORE healthy images."""
    record = new_record()
    update(record, items, healthy[np.random.default_rng(seed).integers(0, len(healthy), HEALTHY_BEFORE)], NOW)
    return record


def images_until_alarm(items: list[Comparison], before: Record, changed: Bins, seed: int) -> int | None:
    """Returns the number of changed images until the alarm, looked at every 10 images; None if there is none."""
    random, record = np.random.default_rng([seed, 1]), before.model_copy(deep=True)
    for seen in range(LOOK, MOST_IMAGES + 1, LOOK):
        if update(record, items, changed[random.integers(0, len(changed), LOOK)], NOW):
            return seen
    return None


def known_distributions(random: np.random.Generator) -> bool:
    """Returns whether a lifetime raises an alarm: a new reference of 2,000 samples, and samples of the same kind."""
    names, samples = (CONFIDENCE, *STATISTICS), 2000
    shares = np.full(10, 0.1)
    found = {name: distribution(random.random(samples).round(4)) for name in names}
    counts = np.bincount(random.choice(10, samples, p=shares), minlength=10)
    reference = Reference(samples, tuple(map(int, counts)), (int(random.binomial(samples, 0.01)),), statistics=found)
    items = comparisons(reference, tuple("0123456789"), 0, False)

    def draw(number: int) -> NDArray[Any]:
        columns = [random.choice(10, number, p=shares), (random.random(number) < 0.01).astype(int)]
        columns += [np.searchsorted(_edges(found[name]), random.random(number), side="right") for name in names]
        return np.stack(columns, axis=1)

    return has_alarm_in_a_lifetime(items, draw)


def _edges(item: Distribution) -> NDArray[np.float64]:
    return np.array(item.edges)


def blurred(pixels: Pixels, radius: float) -> Pixels:
    """Returns the images after a Gaussian blur."""
    blur = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(image.astype(np.uint8)).filter(blur), np.float32) for image in pixels])


def as_pictures(classifier: Classifier, pixels: Pixels) -> Pixels:
    """Returns the images as `score` and `serve` bring pictures to MNIST's form; refused ones are left out."""
    names = [str(number) for number in range(len(pixels))]
    found = classifier.fit_to_input(Images(names, pixels.astype(np.uint8), False), False)
    return np.concatenate([part.pixels for part in found if isinstance(part, Images)])


def changes(watched: Watched, mnist: Path) -> Iterator[tuple[str, Pixels]]:
    """Yields the name of each change, and images with it."""
    pixels = watched.validation
    yield "inverted", 255 - pixels
    for shift in (1, 2, 3):
        yield f"shifted by {shift} pixel{'s' * (shift > 1)}", np.roll(pixels, shift, axis=2)
    for radius in (0.5, 1.0):
        yield f"blurred, radius {radius:g}", blurred(pixels, radius)
    yield "half as bright", pixels * np.float32(0.5)
    for name, some in (("inverted", 255 - pixels), ("shifted by 3 pixels", np.roll(pixels, 3, axis=2))):
        yield f"{name}, as PNG", as_pictures(watched.classifier, some[:1000])
    yield "a tenth inverted", np.where(np.arange(len(pixels))[:, None, None] % 10, pixels, 255 - pixels)
    with np.load(mnist) as arrays:
        images, labels, test = arrays["x_train"], arrays["y_train"], arrays["x_test"].astype(np.float32)
    for label in range(10):
        yield f"only the class {label}", images[labels == label][:1000].astype(np.float32)
    yield "other writers (test images)", test
    with np.load(mnist.with_name("mnist_writers.npz")) as arrays:
        writers = arrays["writer_train"]
        assert not set(writers) & set(arrays["writer_test"])
    names, counts = np.unique(writers, return_counts=True)
    for writer in names[np.argsort(-counts, kind="stable")[:20]]:
        yield "one writer alone", images[writers == writer].astype(np.float32)


def open_watched(model: Path, prepared: Path) -> Watched:
    """Opens a model with the validation images that it was trained beside."""
    classifier = open_classifier(model)
    reference = reference_of(classifier)
    validation = np.rint(np.load(prepared / "x_validation.npy")[..., 0] * 255).astype(np.float32)
    return Watched(classifier, reference, compared(classifier, reference), validation)


def report_healthy(watched: Watched, name: str, lifetimes: int) -> None:
    """Reports the false alarms of healthy lifetimes."""
    random = np.random.default_rng(0)
    bins = watched.bins(watched.validation)
    alarms = sum(
        has_alarm_in_a_lifetime(watched.compared, lambda number: bins[random.integers(0, len(bins), number)])
        for _ in range(lifetimes)
    )
    fresh = sum(known_distributions(random) for _ in range(lifetimes))
    common.report(
        f"{name}: healthy lifetimes of {WEEKS} weeks with {WEEK_IMAGES} images each",
        TARGET,
        runs=lifetimes,
        with_alarm_validation_images=alarms,
        with_alarm_known_distributions=fresh,
    )


def report_order(watched: Watched, name: str, mnist: Path) -> None:
    """Reports after how many training images in MNIST's order, one writer after another, the first alarm comes."""
    with np.load(mnist) as arrays:
        bins = watched.bins(arrays["x_train"][:ORDERED].astype(np.float32))
    found: dict[str, Any] = {}
    for size in JOBS:
        record, first = new_record(), None
        for start in range(0, ORDERED, size):
            job = np.random.default_rng(0).permutation(bins[start : start + size])
            if update(record, watched.compared, job, NOW):
                first = start + size
                break
        found[f"first alarm in jobs of {size:,}"] = first
    common.report(f"{name}: {ORDERED:,} images in MNIST's order, by writers", NO_TARGET, runs=1, **found)


def report_changes(watched: Watched, name: str, mnist: Path) -> None:
    """Reports the number of images until each change is found."""
    healthy = watched.bins(watched.validation)
    later_records = [after_healthy_images(watched.compared, healthy, seed) for seed in range(STREAMS)]
    found: dict[str, list[list[int | None]]] = {}
    for change, pixels in changes(watched, mnist):
        bins = watched.bins(pixels)
        several = change.startswith(("only", "one writer"))
        kind = "a single class" if change.startswith("only") else change
        rows = found.setdefault(kind, [[], []])
        for row, records in zip(rows, ([new_record()] * STREAMS, later_records), strict=True):
            streams = range(2 if several else STREAMS)
            row += [images_until_alarm(watched.compared, records[seed], bins, seed) for seed in streams]
    for change, (at_start, later) in found.items():
        common.report(
            f"{name}: {change}",
            TARGET,
            runs=len(at_start),
            **_facts(at_start, "at the start"),
            **_facts(later, f"after {HEALTHY_BEFORE:,} healthy images"),
        )


def _facts(images: list[int | None], when: str) -> dict[str, Any]:
    """Returns how many streams raised an alarm, and the median and the largest number of images until it."""
    known = [number for number in images if number is not None]
    middle = statistics.median(known) if known else None
    return {f"{when}: found, median, most": [f"{len(known)} of {len(images)}", middle, max(known, default=None)]}


def main() -> None:
    """Trains the models if that is to do, and reports false alarms and changes."""
    parser = common.parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["dense", "cnn_fast"], metavar="MODEL")
    parser.add_argument("--lifetimes", type=int, default=10, metavar="N")
    given = parser.parse_args()
    work = given.work / "watching"
    for name in given.models:
        model = work / "models" / name / "model.onnx"
        if not model.exists():
            params = common.params_with(work, {})
            common.prepare(given.mnist, work, params)
            common.ours(name, work, params)
        watched = open_watched(model, work / "prepared")
        report_changes(watched, name, given.mnist)
        report_order(watched, name, given.mnist)
        report_healthy(watched, name, given.lifetimes)


if __name__ == "__main__":
    main()
