"""What the page shows: rows with scores, intervals and verdicts, curves, predictions and images."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.base.errors import DataError
from stages.report.comparability import LOSS_KEYS, SPLIT, TARGETS
from stages.runs import predictions as predicted
from stages.runs.predictions import Predictions
from stages.runs.scores import best_model, metric_names, model_scores
from stages.runs.sprite import sprite

DATASET = "data/raw/dataset.npz"
TEST_ARRAYS = ("x_test", "y_test")
MAX_IMAGES = 400
MAX_EPOCHS = 120  # points of a curve
SAME = "the same"  # the verdict on predictions of the same bytes as the baseline's

Row = dict[str, Any]


def page_content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of the page from the facts that `flows` collected."""
    rows: list[Row] = facts["versions"]
    for row in rows:
        _add_scores(row, {**facts["constants"], **row["params"]})
    _number_commits(rows)
    files = facts["files"]
    _add_tested(rows, files)
    hashes = dict.fromkeys(m["predictions"] for row in rows for m in row["models"].values() if "predictions" in m)
    predictions = predicted.read_predictions({digest: files[digest] for digest in hashes if digest in files})
    baseline = facts.get("baseline") or _default_baseline(rows)
    _add_verdicts(rows, baseline, predictions)
    histories = dict.fromkeys(m["history"] for row in rows for m in row["models"].values() if "history" in m)
    return {
        "project": facts["project"],
        "baseline": baseline,
        "constants": facts["constants"],
        "comparability": {"loss": LOSS_KEYS, "split": SPLIT, "targets": TARGETS},
        "rows": rows,
        "sweeps": facts["sweeps"],
        "metrics": metric_names(rows),
        "predictions": predicted.encode(predictions),
        "labels": predicted.encode_labels(predictions),
        "histories": {digest: _curve(Path(files[digest])) for digest in histories if digest in files},
        "images": _images(rows, predictions, files, facts["constants"]),
    }


def _add_scores(row: Row, params: Mapping[str, Any]) -> None:
    """Replaces the scores of the models by those for the page, and adds the best one and the data's digest.

    The best one is that of the version's own report, if it has one; empty where no validation score can choose one.
    """
    files = {name: {k: m[k] for k in ("predictions", "history") if k in m} for name, m in row["models"].items()}
    row["models"] = {name: model_scores(model) | files[name] for name, model in row["models"].items()}
    row["best"] = row["chosen"] if row["chosen"] in row["models"] else best_model(row["models"], params)
    row["data"] = row["data"].get(DATASET) or "".join(f"{path}={row['data'][path]} " for path in sorted(row["data"]))


def _add_tested(rows: list[Row], files: Mapping[str, str]) -> None:
    """Adds the digest of the test part of each version's data, from its description; empty if that is not in the cache.

    With it, versions with other training data and the same test images can be compared.
    """
    digests = {name: _test_digest(files.get(name)) for name in {row["description"] for row in rows}}
    for row in rows:
        row["tested"] = digests[row["description"]]


def _test_digest(path: str | None) -> str:
    if path is None:
        return ""
    try:
        arrays = json.loads(Path(path).read_text(encoding="utf-8"))["arrays"]
        return " ".join(str(arrays[name]["sha256"]) for name in TEST_ARRAYS)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # damaged, or of another form
        return ""


def has_other_test(row: Row, other: Row) -> bool:
    """Returns whether two versions were tested on other images, as `hasOtherTest` of the page.

    Digests are compared where both are known: those of the test parts, else those of the whole data.
    """
    if row["tested"] and other["tested"]:
        return bool(row["tested"] != other["tested"])
    return bool(row["data"] and other["data"] and row["data"] != other["data"]) or row["dataset"] != other["dataset"]


def _number_commits(rows: list[Row]) -> None:
    """Adds the place of each commit in the trend, from 1 on, and gives experiments and runs that of their commit."""
    numbers: dict[str, int] = {}
    for row in rows:
        if row["kind"] in ("commit", "workspace"):
            numbers[row["id"]] = row["number"] = len(numbers) + 1
    for row in rows:
        if "number" not in row:
            row["number"] = numbers.get(row["base"], len(numbers))


def _default_baseline(rows: list[Row]) -> str:
    """Returns the version that is checked out; if it has no scores, the last commit that has some."""
    scored = [row for row in rows if row["kind"] == "commit" and _has_scores(row)]
    head = next((row for row in scored if row["head"]), None)
    chosen = head or (scored[-1] if scored else None)
    return str(chosen["id"]) if chosen else ""


def _has_scores(row: Row) -> bool:
    """Returns whether a version has metrics, or a model with scores, although none may be chosen."""
    return bool(row["best"] or row["metrics"] or any("test" in model for model in row["models"].values()))


def _add_verdicts(rows: list[Row], baseline: str, predictions: Mapping[str, Predictions]) -> None:
    """Adds the paired test of each version's best model against the baseline's, corrected over all tests.

    Versions with the same predictions share a test; those with the baseline's need none. Versions that were tested on
    other images have none, even if the labels are equal.
    """
    old = next((row for row in rows if row["id"] == baseline), None)
    reference = _best_predictions(old) if old else ""
    comparable = [row for row in rows if old is not None and row is not old and not has_other_test(row, old)]
    hashes = dict.fromkeys(_best_predictions(row) for row in comparable)
    tests = {
        digest: test
        for digest in hashes
        if digest != reference and (test := predicted.compare(predictions.get(digest), predictions.get(reference)))
    }
    verdicts = dict(zip(tests, predicted.corrected(list(tests.values())), strict=True))
    if reference:
        verdicts[reference] = {"difference": 0.0, "verdict": SAME}
    for row in rows:
        row["verdict"] = None
    for row in comparable:
        row["verdict"] = verdicts.get(_best_predictions(row))


def _best_predictions(row: Row) -> str:
    return str(row["models"].get(row["best"], {}).get("predictions", ""))


def _curve(path: Path) -> dict[str, list[float | None]]:
    """Returns the columns of a history.csv, thinned out; empty if it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error):
        return {}
    step = math.ceil(len(table) / MAX_EPOCHS) or 1
    kept = [row for number, row in enumerate(table) if number % step == 0 or number == len(table) - 1]
    return {str(name): [_number(row[name]) for row in kept] for name in (table[0] if table else ())}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _images(
    rows: list[Row], predictions: Mapping[str, Predictions], files: Mapping[str, str], constants: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the images that versions disagree on and the names of their classes, where the data are in the cache.

    They are by the digest of the labels; `of` is a version that has these images, and not others with equal labels.
    """
    found: dict[str, Any] = {}
    for row in reversed(rows):
        item = predictions.get(_best_predictions(row))
        path = files.get(row["data"])
        if item is None or path is None or item.is_regression or item.digest in found:
            continue
        indexes = predicted.disputed(predictions, item.digest, MAX_IMAGES)
        images = predicted.open_images(Path(path), len(item.labels)) if indexes else None
        if images is not None:
            same = [other for other in reversed(rows) if _labels_digest(other, predictions) == item.digest]
            names = next(filter(None, (_class_names(other, files, constants) for other in same)), [])
            found[item.digest] = {"of": row["id"], "indexes": indexes, "names": names, **sprite(images[indexes])}
    return found


def _labels_digest(row: Row, predictions: Mapping[str, Predictions]) -> str | None:
    item = predictions.get(_best_predictions(row))
    return None if item is None else item.digest


def _class_names(row: Row, files: Mapping[str, str], constants: Mapping[str, Any]) -> list[str]:
    """Returns the names of the classes of a version's best model; none if the data are not described in the cache."""
    path, params = files.get(row["description"]), {**constants, **row["params"]}
    task, positive = (params.get(f"models.{row['best']}.{key}") for key in ("task", "positive"))
    if path is None:
        return []
    from stages.data.datasets import read_description  # late: their schemas take time, and not all projects have them
    from stages.model.tasks import Task

    try:
        names = read_description(Path(path)).class_names
        return list(Task(task or "multiclass", tuple(positive or ())).class_names(names))
    except (DataError, LookupError, TypeError):  # of another form
        return []
