"""Predictions of the models of many versions: which test images each one gets wrong, and paired verdicts."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from stages.base.errors import DataError
from stages.data.npz import open_npz
from stages.report.records import TABLE_ERRORS
from stages.report.statistics.paired_tests import (
    SIGNIFICANT,
    PairedTest,
    holm_correction,
    mcnemar_test,
    paired_t_test,
)

MAX_BYTES = 3_000_000  # of predictions in the page; those of the oldest versions are left out


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model for the test samples.

    Attributes:
        labels: true classes or values (n,).
        answers: predicted classes or values (n,).
        is_regression: whether the answers are values.
        digest: of the labels: predictions with equal ones can be compared.
    """

    labels: npt.NDArray[Any]
    answers: npt.NDArray[Any]
    is_regression: bool
    digest: str

    @property
    def wrong(self) -> npt.NDArray[np.int64]:
        """Indexes of the samples of which the class is wrong."""
        return np.flatnonzero(self.labels != self.answers)


def read_predictions(files: Mapping[str, str]) -> dict[str, Predictions]:
    """Returns the predictions that can be read, by hash; `files` has paths by hash.

    Classes take as few bytes as they need, and equal labels are there once: there may be thousands of models.
    """
    found = {}
    known: dict[str, npt.NDArray[Any]] = {}  # labels by digest
    for digest, path in files.items():
        try:
            names = pq.read_schema(path).names
            columns = ["target", "value"] if {"target", "value"} <= set(names) else ["label", "predicted"]
            table = pq.read_table(path, columns=columns)
            labels, answers = (_small(table.column(name).to_numpy()) for name in columns)
            if not len(labels):  # nothing to test
                continue
            if any(values.dtype.kind not in "iufb" or not np.isfinite(values).all() for values in (labels, answers)):
                continue
            key = hashlib.sha256(labels.astype(np.float64).tobytes()).hexdigest()[:12]
        except TABLE_ERRORS:  # not predictions of this pipeline, or damaged
            continue
        found[digest] = Predictions(known.setdefault(key, labels), answers, columns[0] == "target", key)
    return found


def _small(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns integers in the smallest type that has all of them; other values as they are."""
    if values.dtype.kind not in "iu" or not values.size:
        return values
    return values.astype(np.result_type(*(np.min_scalar_type(end) for end in (values.min(), values.max()))))


def compare(new: Predictions | None, old: Predictions | None) -> dict[str, Any] | None:
    """Returns the paired test of two predictions, positive where `new` is better; None if they cannot be compared.

    It has no interval: the page shows none beside its verdicts, and one at the level of a single test would contradict
    those that are corrected.
    """
    if new is None or old is None or new.digest != old.digest or new.is_regression != old.is_regression:
        return None
    test = _test(new, old)
    figures = {"difference": test.difference, "p": test.p}
    unit = "value" if new.is_regression else "accuracy"
    return _with_verdict({key: float(f"{value:.6g}") for key, value in figures.items()} | {"unit": unit})


def _with_verdict(test: Mapping[str, Any]) -> dict[str, Any]:
    verdict = "cannot tell" if test["p"] >= SIGNIFICANT else "better" if test["difference"] > 0 else "worse"
    return {**test, "verdict": verdict}


def corrected(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns tests of `compare` with their p-values corrected by Holm, and the verdicts that these give."""
    p_values = holm_correction([test["p"] for test in tests])
    return [_with_verdict({**test, "p": float(f"{p:.6g}")}) for test, p in zip(tests, p_values, strict=True)]


def _test(new: Predictions, old: Predictions) -> PairedTest:
    if not new.is_regression:
        return mcnemar_test(new.answers == new.labels, old.answers == old.labels)
    errors = (np.abs(side.answers.astype(np.float64) - side.labels) for side in (new, old))
    return paired_t_test(*errors)


def encode(predictions: Mapping[str, Predictions]) -> dict[str, dict[str, Any]]:
    """Returns the predictions of classifiers for the page, by hash: the indexes of wrong images and their answers.

    `at` is the distances between the indexes as variable-length numbers of 7 bits, `as` a byte for each answer; both in
    base64.
    """
    encoded: dict[str, dict[str, Any]] = {}
    left = MAX_BYTES
    for digest, item in reversed(list(predictions.items())):
        if item.is_regression or not len(item.labels):
            continue
        at = base64.b64encode(_varints(np.diff(item.wrong, prepend=0))).decode()
        answers = item.answers[item.wrong]
        has_bytes = len(answers) == 0 or 0 <= answers.min() <= answers.max() < 256
        shown = base64.b64encode(answers.astype(np.uint8).tobytes()).decode() if has_bytes else ""
        left -= len(at) + len(shown)
        if left < 0:
            break
        encoded[digest] = {"n": len(item.labels), "labels": item.digest, "at": at, "as": shown}
    return encoded


def _varints(numbers: npt.NDArray[np.int64]) -> bytes:
    content = bytearray()
    for number in numbers.tolist():
        while number >= 128:
            content.append(number & 127 | 128)
            number >>= 7
        content.append(number)
    return bytes(content)


def encode_labels(predictions: Mapping[str, Predictions]) -> dict[str, str]:
    """Returns the labels of classifiers in base64, a byte each, by their digest."""
    labels = {item.digest: item.labels for item in predictions.values() if not item.is_regression}
    return {
        digest: base64.b64encode(values.astype(np.uint8).tobytes()).decode()
        for digest, values in labels.items()
        if len(values) and 0 <= values.min() <= values.max() < 256
    }


def disputed(predictions: Mapping[str, Predictions], digest: str, limit: int) -> list[int]:
    """Returns the images that some versions get right and others wrong, those that divide them most first."""
    models = [item for item in predictions.values() if item.digest == digest and not item.is_regression]
    counts = np.zeros(len(models[0].labels), np.int64)
    for model in models:
        counts[model.wrong] += 1
    balance = np.minimum(counts, len(models) - counts)
    order = np.argsort(-balance, kind="stable")[:limit]
    return sorted(int(index) for index in order if balance[index])


def open_images(path: Path, count: int) -> npt.NDArray[np.uint8] | None:
    """Returns the test images (n, h, w) or (n, h, w, c) of a data set; None if it has no `count` images of bytes."""
    try:
        with open_npz(path, ("x_test",), path.stat().st_size) as entries:  # the file is not compressed
            images = entries["x_test"].read()
    except (DataError, OSError):
        return None
    is_image = images.dtype == np.uint8 and (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3)))
    return images if is_image and len(images) == count else None
