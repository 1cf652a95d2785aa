"""Tests whether models of two machines answer the same test samples equally well, by the report's own tests.

`python -m stages.verify.agreement` reads a JSON object on standard input, for each model two folders as the stage
`evaluate` writes them, the one of this machine first. It prints an object with the result of each model.

    a class, one seed       McNemar's exact test
    a value, one seed       the paired t test of the absolute errors
    two or more seeds       the test of two recipes, over all seeds

A result is `statistically equal` where its test shows no difference at 5%, Holm-corrected for all models of the call
whose answers differ: models that are wrong on the same samples make the tests of the others no stricter.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.base.errors import EXIT_DONE, exit_with
from stages.report.formats import count, number, p_value, plural, points
from stages.report.records import TABLE_ERRORS
from stages.report.statistics.intervals import Floats, Interval
from stages.report.statistics.paired_tests import (
    SIGNIFICANT,
    can_differ,
    holm_correction,
    holm_levels,
    mcnemar_test,
    paired_t_test,
)
from stages.report.statistics.recipe_tests import recipe_test

EQUAL, DIFFERENT, UNKNOWN, NOT_COMPARABLE = "statistically equal", "different", "unknown", "not comparable"
SIDES = ("here", "there")


class Unusable(ValueError):
    """The files of a model cannot be tested; `verdict` says what that means."""

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


@dataclass(frozen=True)
class Answers:
    """The answers of a model to the test samples.

    Attributes:
        labels: the true class or value of each sample (n,).
        errors: 1 for a wrong class and 0 for a right one, or the absolute error of a value (n,).
        by_seed: the same of each seed (seeds, n); of the exported weights alone for a model with one seed.
        is_value: the model predicts values.
    """

    labels: npt.NDArray[Any]
    errors: Floats
    by_seed: Floats
    is_value: bool


class Tested(NamedTuple):
    """A test of this machine's model against the other one; a positive difference is in favour of this machine's."""

    name: str
    difference: float
    interval: Interval
    p: float


def read_answers(folder: Path) -> Answers:
    """Reads the files that the stage `evaluate` wrote to `folder`.

    Raises:
        Unusable: a file cannot be read, or metrics.json counts other errors than predictions.parquet.
    """
    try:
        table = pd.read_parquet(folder / "predictions.parquet")
        if not table.columns.is_unique:
            raise ValueError("a column is there twice")
        is_value = "value" in table and "target" in table
        truth, answer = ("target", "value") if is_value else ("label", "predicted")
        labels = table[truth].to_numpy(np.float64 if is_value else np.int64)
        columns = [answer, *(name for name in map(str, table) if name.startswith("seed_"))]
        given = [table[name].to_numpy(np.float64) for name in columns]
    except TABLE_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise Unusable(UNKNOWN, f"predictions.parquet cannot be read ({reason})") from error
    if not len(labels) or not np.isfinite(given).all():
        raise Unusable(UNKNOWN, "predictions.parquet has no finite number for each sample")
    errors = [np.abs(part - labels) if is_value else (part != labels).astype(np.float64) for part in given]
    answers = Answers(labels, errors[0], np.stack(errors[1:] or errors[:1]), is_value)
    _check_counts(folder / "metrics.json", answers)
    return answers


def _check_counts(path: Path, answers: Answers) -> None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        recorded = record.get("errors"), record.get("samples")
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # the comparison of the file itself says so
    counted = int(answers.errors.sum()), len(answers.labels)
    if not answers.is_value and None not in recorded and recorded != counted:
        raise Unusable(
            DIFFERENT,
            f"metrics.json has {recorded[0]} errors of {recorded[1]}, predictions.parquet {counted[0]} of {counted[1]}",
        )


def paired_test(here: Answers, there: Answers, level: float = SIGNIFICANT) -> Tested:
    """Returns the test of two models at the significance `level`."""
    if len(here.by_seed) > 1 and len(there.by_seed) > 1:
        recipe = recipe_test(-here.by_seed, -there.by_seed, level)
        assert recipe is not None  # it is None for a single seed alone
        return Tested("test of the recipes over all seeds", recipe.difference, recipe.interval, recipe.p)
    if here.is_value:
        values = paired_t_test(here.errors, there.errors, level)
        return Tested("paired t test", values.difference, values.interval, values.p)
    classes = mcnemar_test(here.errors == 0, there.errors == 0, level)
    return Tested("McNemar test", classes.difference, classes.interval, classes.p)


def compare_models(folders: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, Any]]:
    """Tests each model of `folders`, this machine's folder and the other one's; returns the results by model."""
    found: dict[str, dict[str, Any]] = {}
    pairs: dict[str, tuple[Answers, Answers]] = {}
    for name, sides in folders.items():
        try:
            pairs[name] = _read_pair(sides)
        except Unusable as error:
            found[name] = {"verdict": error.verdict, "sentence": str(error)}
    family = {name: pair for name, pair in pairs.items() if not _answer_alike(*pair)}
    p_values = [paired_test(*pair).p for pair in family.values()]
    corrections = zip(family.items(), holm_correction(p_values), holm_levels(p_values), strict=True)
    for (name, pair), p, level in corrections:
        found[name] = _result(*pair, paired_test(*pair, level), p, len(family))
    for name in pairs.keys() - family:  # their p is 1 without a test
        found[name] = _result(*pairs[name], paired_test(*pairs[name]), 1.0, 1)
    return {name: found[name] for name in folders}


def _answer_alike(here: Answers, there: Answers) -> bool:
    """Returns whether two models are right, wrong and deviate equally on each sample, so that no test is needed."""
    return np.array_equal(here.errors, there.errors) and np.array_equal(here.by_seed, there.by_seed)


def _read_pair(sides: Sequence[Path]) -> tuple[Answers, Answers]:
    read = []
    for side, folder in zip(SIDES, sides, strict=True):
        try:
            read.append(read_answers(folder))
        except Unusable as error:
            raise Unusable(error.verdict, f"{side}: {error}") from error
    here, there = read
    if here.is_value != there.is_value or not np.array_equal(here.labels, there.labels):
        raise Unusable(NOT_COMPARABLE, "the labels of the test samples differ, so these are other test data")
    return here, there


def _result(here: Answers, there: Answers, test: Tested, p: float, tests: int) -> dict[str, Any]:
    samples = len(here.labels)
    is_too_small = not here.is_value and test.difference != 0 and not can_differ(samples, tests)
    if np.isnan(p) or is_too_small:
        return {"verdict": UNKNOWN, "sentence": f"{plural(samples, 'test sample')}, too few for a test"}
    sides = {"here": here, "there": there}
    figures: dict[str, Any] = {
        "test": test.name,
        "n": samples,
        "seeds": {side: len(answers.by_seed) for side, answers in sides.items()},
        "difference": test.difference,
        "low": test.interval.low,
        "high": test.interval.high,
        "p": test.p,
        "corrected_p": p,
        "tests": tests,
    }
    if here.is_value:
        figures["mean_absolute_error"] = {side: float(answers.errors.mean()) for side, answers in sides.items()}
    else:
        wrong = {side: int(answers.errors.sum()) for side, answers in sides.items()}
        one, other = here.errors.astype(bool), there.errors.astype(bool)
        only = {"here": int((one & ~other).sum()), "there": int((other & ~one).sum())}
        figures |= {"wrong": wrong, "only_wrong": only}
    verdict = DIFFERENT if p < SIGNIFICANT else EQUAL
    return {"verdict": verdict, "sentence": _sentence(figures), **figures}


def _sentence(figures: Mapping[str, Any]) -> str:
    if "wrong" in figures:
        wrong, only = figures["wrong"], figures["only_wrong"]
        counts = (
            f"{count(wrong['here'])} wrong here, {count(wrong['there'])} there "
            f"({count(only['here'])} here alone, {count(only['there'])} there alone)"
        )
        ends, unit = [points(100 * figures[key]) for key in ("difference", "low", "high")], " points"
    else:
        errors = figures["mean_absolute_error"]
        counts = f"mean absolute error {number(errors['here'])} here, {number(errors['there'])} there"
        ends, unit = [number(figures[key]) for key in ("difference", "low", "high")], ""
    seeds, tests = figures["seeds"], figures["tests"]
    weights = f"; {seeds['here']} seeds here, {seeds['there']} there" if max(seeds.values()) > 1 else ""
    corrected = f", Holm-corrected for {tests} models" if tests > 1 else ""
    return (
        f"{figures['test']}, {count(figures['n'])} test samples: {counts}{weights}; difference {ends[0]}{unit}, "
        f"interval {ends[1]} to {ends[2]}, {p_value(figures['corrected_p'])}{corrected}"
    ).replace("\u00a0", " ")


def main() -> int:
    """Tests the models on standard input."""
    folders = {name: [Path(side) for side in sides] for name, sides in json.load(sys.stdin).items()}
    print(json.dumps(compare_models(folders)))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
