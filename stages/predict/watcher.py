"""Watches one model: takes its samples and answers, and adds what they show to the record of the model."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from stages.base.errors import DataError, OutputError
from stages.base.streams import tell
from stages.inference.onnx_session import read_doubt
from stages.model.reference import CONFIDENCE, UNLIKE, Reference
from stages.predict.classifier import Classifier
from stages.predict.earlier_outputs import original
from stages.predict.image_files import escape_unprintable
from stages.predict.results import Prediction, Result
from stages.samples.image_statistics import STATISTICS
from stages.watch.comparisons import CLASSES, RATE, UNSURE, Comparison, comparisons
from stages.watch.observe import Bins, observe
from stages.watch.record import Alarm, Record, locked, read_record, record_path, watch_folder, write_record
from stages.watch.update import update

STEP, MAX_STEPS = 200, 50  # images between two looks at the evidence, and looks in one update
NO_REFERENCE = "has no reference of its training, so nothing watches what it is asked; train it again to have one"
REGRESSION = "is a regression, and only classifiers are watched"


def tell_stderr(message: str) -> None:
    """Writes a line about the watch to standard error."""
    tell(f"watch: {message}")


class Watcher:
    """Collects what a model was asked. No sample is kept: only its bins, two bytes for each statistic."""

    def __init__(
        self,
        classifier: Classifier,
        sha256: str,
        name: str,
        registered: dict[str, str],
        folder: Path,
        tell: Callable[[str], None] = tell_stderr,
    ) -> None:
        """Begins to watch.

        Args:
            classifier: the model.
            sha256: of its file.
            name: of the model, as people know it.
            registered: version and commit of a registered model.
            folder: folder of the records.
            tell: is called with a sentence about a record that was moved aside.

        Raises:
            DataError: the model carries no reference, or one that does not fit it.
        """
        self._reference = reference_of(classifier)
        self._folder, self._lock, self._tell = folder, Lock(), tell
        self._compared = compared(classifier, self._reference)
        self._pending: list[Bins] = []
        self._seen: list[Bins] = []
        now = _now()
        self._new = Record(
            model_sha256=sha256,
            model=escape_unprintable(name),
            version=registered.get("model_version", ""),
            commit=registered.get("model_commit", ""),
            rate=RATE,
            first=now,
            last=now,
        )

    def see(self, pixels: NDArray[np.float32], results: Sequence[Result]) -> None:
        """Adds samples (n, *shape), of images in 0..255, and the answers to them."""
        predictions = [one for one in results if isinstance(one, Prediction)]
        if predictions:
            self.see_answers(pixels, answers_of(predictions))

    def see_answers(self, pixels: NDArray[np.float32], answers: Mapping[str, NDArray[np.float64]]) -> None:
        """Adds samples, and what `answers_of` returned of the answers to them."""
        self._pending.append(observe(self._compared, self._reference, pixels, answers))

    def keep(self) -> None:
        """Counts what was seen since the last `keep` or `drop`."""
        with self._lock:
            self._seen += self._pending
        self._pending = []

    def drop(self) -> None:
        """Does not count it."""
        self._pending = []

    def save(self) -> list[Alarm]:
        """Adds what counts since the last call to the model's record; returns the new alarms.

        A record that is damaged, or of a newer version, is moved aside, which is told, and the watch begins anew.

        Raises:
            OutputError: the record cannot be read, moved or written; what was seen is kept for the next call.
        """
        with self._lock:
            seen = self._seen
            if not seen:
                return []
            with locked(self._folder, self._new.model_sha256):
                record = self._read()
                bins, now, new = np.concatenate(seen), _now(), []
                np.random.default_rng(0).shuffle(bins)  # one writer after another is a change to the tests
                step = max(STEP, len(bins) // MAX_STEPS)
                for start in range(0, len(bins), step):
                    new += update(record, self._compared, bins[start : start + step], now)
                write_record(self._folder, record)
            self._seen = []
        return new

    def standing(self) -> dict[str, bool]:
        """Returns for each statistic whether an alarm stands; nothing if there is no record, or none that is read."""
        try:
            record = read_record(record_path(self._folder, self._new.model_sha256))
        except DataError:
            return {}
        alarmed = {alarm.statistic for alarm in record.alarms} if record else set()
        return {item.name: item.name in alarmed for item in self._compared} if record else {}

    def _read(self) -> Record:
        path = record_path(self._folder, self._new.model_sha256)
        try:
            record = read_record(path)
        except DataError as error:
            if isinstance(error.__cause__, OSError):  # it may be in order
                raise OutputError(path, error.__cause__) from error
            self._move_aside(path)
            record = None
        record = record or self._new.model_copy(deep=True)
        record.model, record.version, record.commit = self._new.model, self._new.version, self._new.commit
        return record

    def _move_aside(self, path: Path) -> None:
        """Renames a damaged record; one that was moved aside earlier stays."""
        damaged, number = path.with_suffix(".damaged"), 1
        while os.path.lexists(damaged):
            number += 1
            damaged = path.with_suffix(f".damaged-{number}")
        try:
            path.rename(damaged)
        except OSError as error:
            raise OutputError(damaged, error) from error
        self._tell(
            f"{path}: is damaged or of a newer version; it is now {damaged}, its alarms and decisions no longer count, "
            "and the watch begins anew"
        )


@dataclass(frozen=True)
class WatchedClassifier(Classifier):
    """A classifier that shows a watcher what it is asked."""

    watcher: Watcher | None = None

    def answers(self, pixels: NDArray[np.float32]) -> Iterator[Result]:
        """Yields what a Classifier yields, after the watcher has seen it."""
        found = list(super().answers(pixels))
        if self.watcher:
            self.watcher.see(pixels, found)
        yield from found


def watched(
    classifier: Classifier, sha256: str, registered: dict[str, str], tell: Callable[[str], None] = tell_stderr
) -> WatchedClassifier:
    """Returns `classifier` with a watcher whose record is in the current project; the arguments are as Watcher's.

    Raises:
        DataError: the model carries no reference, or one that does not fit it.
    """
    name = original(classifier.path.absolute()).parent.name
    name = name.partition("@")[0].replace("=", "/")
    watcher = Watcher(classifier, sha256, name, registered, watch_folder(), tell)
    parts = {item.name: getattr(classifier, item.name) for item in fields(classifier)}
    return WatchedClassifier(**parts, watcher=watcher)


def watched_or_not(classifier: Classifier, model_sha256: str, version: dict[str, str]) -> Classifier:
    """Returns `classifier` with its watcher; one without a reference stays as it is, which is told."""
    try:
        return watched(classifier, model_sha256, version)
    except DataError as error:
        tell_stderr(str(error))
        return classifier


def count_watched(classifier: Classifier, is_scored: bool) -> None:
    """Counts the images of a file that was scored: one with a rejected image is read again by the next job."""
    if isinstance(classifier, WatchedClassifier) and classifier.watcher:
        (classifier.watcher.keep if is_scored else classifier.watcher.drop)()


def save_watch(classifier: Classifier) -> None:
    """Adds the images to the model's record, and tells new alarms; a record that cannot be written is told."""
    if not isinstance(classifier, WatchedClassifier) or not classifier.watcher:
        return
    try:
        for alarm in classifier.watcher.save():
            tell_stderr(f"alarm: {alarm.sentence}; `inkflow monitor` shows more")
    except OutputError as error:
        tell_stderr(str(error))


def compared(classifier: Classifier, reference: Reference) -> list[Comparison]:
    """Returns what is compared for a model."""
    thresholds = classifier.thresholds
    has_unlikeness = thresholds is not None and thresholds.unlikeness is not None
    names = tuple(map(escape_unprintable, classifier.class_names))
    return comparisons(reference, names, _level(classifier), has_unlikeness)


def answers_of(predictions: Sequence[Prediction]) -> dict[str, NDArray[np.float64]]:
    """Returns what `observe` takes of answers: classes, whether they are unsure, confidence and unlikeness, each (n,).

    The unlikeness of a model that does not measure it is no number, and not compared.
    """
    unlikeness = [np.nan if one.unlikeness is None else one.unlikeness for one in predictions]
    return {
        CLASSES: np.array([int(np.argmax(one.probabilities)) for one in predictions], np.float64),
        UNSURE: np.array([bool(one.unsure) for one in predictions], np.float64),
        CONFIDENCE: np.array([one.probability for one in predictions], np.float64),
        UNLIKE: np.array(unlikeness, np.float64),
    }


def reference_of(classifier: Classifier) -> Reference:
    """Returns the reference in the metadata of a model.

    Raises:
        DataError: it carries none, or one that does not fit it.
    """
    if classifier.predicts_values:
        raise DataError(f"{classifier.path}: {REGRESSION}")
    try:
        found = Reference.from_metadata(classifier.session.get_modelmeta().custom_metadata_map)
    except ValueError as error:
        raise DataError(f"{classifier.path}: has an invalid reference ({error}); train the model again") from error
    if found is None:
        raise DataError(f"{classifier.path}: {NO_REFERENCE}")
    top, bottom, left, right = found.crop
    height, width = classifier.shape[:2] if classifier.form is None else (0, 0)
    is_of_images = any(name in STATISTICS for name in found.statistics)
    fits = not is_of_images or (top + bottom < height and left + right < width)
    if len(found.classes) != len(classifier.class_names) or not fits:
        raise DataError(f"{classifier.path}: has a reference of other classes or samples; train the model again")
    return found


def _level(classifier: Classifier) -> int | None:
    """Returns the index of the level of doubt whose thresholds are in use."""
    doubt, used = read_doubt(classifier.session, classifier.path), classifier.thresholds
    if doubt is None or used is None:
        return None
    unlikeness = doubt.unlikeness or (None,) * len(doubt.levels)
    pairs = list(zip(doubt.probability, unlikeness, strict=True))
    return pairs.index((used.probability, used.unlikeness))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
