"""The verdict on each output from given facts: which outputs decide about others, and what is not known."""

from dataclasses import replace
from typing import Any

import pytest

from flows.dvc_repo.history.links import Stage
from flows.machines.records import Records
from flows.machines.verdicts import Facts, Key, Verdict, judge

TRAIN, EVALUATE = "train@a", "evaluate@a"
ONNX, KERAS = "models/a/model.onnx", "models/a/model.keras"
HISTORY, SCORES = "models/a/history.csv", "evaluation/a/metrics.json"
PREDICTIONS = "evaluation/a/predictions.parquet"
EQUAL = {"a": {"verdict": "statistically equal", "sentence": "a test"}}
OFF = Verdict.DIFFERENT, "differs by 2e-06"


def side(mark: str, *changed: str) -> Records:
    """Returns the records of a side, on which the outputs `changed` have hashes of their own."""
    outs = {TRAIN: (ONNX, KERAS, HISTORY), EVALUATE: (PREDICTIONS, SCORES)}
    hashes = {stage: {path: mark if path in changed else "same" for path in paths} for stage, paths in outs.items()}
    reads = {ONNX: hashes[TRAIN][ONNX]}
    stages = {TRAIN: Stage({}, hashes[TRAIN], "", ""), EVALUATE: Stage(reads, hashes[EVALUATE], "", "")}
    return Records(stages, {}, {}, frozenset())


def judged(values: dict[str, tuple[Verdict, str]], **facts: Any) -> dict[str, tuple[str, str]]:
    """Returns verdict and detail of the outputs in `values`, which are those that differ."""
    here, there = side("here", *values), side("there", *values)
    found: dict[Key, tuple[Verdict, str]] = {(here.makers[path], path): value for path, value in values.items()}
    rows = judge([TRAIN, EVALUATE], Facts(here, there, values=found, **facts))
    return {row.output: (str(row.verdict), row.detail) for row in rows if row.output in values}


@pytest.mark.parametrize("word", ["byte-equal", "value-equal"])
def test_other_scores_of_equal_predictions(word: str) -> None:
    """Scores that differ are different if the predictions do not, and unknown if they cannot be had."""
    values = {SCORES: OFF} | ({PREDICTIONS: (Verdict.VALUES, "")} if word == "value-equal" else {})
    detail = f"predictions.parquet is {word}, and this is not: differs by 2e-06"
    assert judged(values, tests=EQUAL)[SCORES] == ("different", detail)
    found = judged(values, tests=EQUAL, missing={(EVALUATE, SCORES): "no cache has it"})
    assert found[SCORES] == ("unknown", "only the hashes are known: no cache has it")


def test_scores_of_other_predictions_are_tested() -> None:
    """Scores of predictions that differ have the verdict of the test."""
    assert judged({SCORES: OFF, PREDICTIONS: OFF, ONNX: OFF}, tests=EQUAL)[SCORES] == ("statistically equal", "a test")


def test_rounding_of_another_processor() -> None:
    """What a training with a model within the tolerance made follows, also beyond it; the model itself may not."""
    close = {ONNX: (Verdict.TOLERANCE, "differs by 1e-06")}
    found = judged(close | {HISTORY: OFF, SCORES: OFF, KERAS: OFF})
    assert found[HISTORY] == ("follows", "of the training of a model.onnx that is within tolerance")
    assert found[SCORES] == ("follows", f"made from {ONNX}, which is within tolerance")
    assert found[KERAS] == ("different", "model.onnx is within tolerance, and this is not: differs by 2e-06")
    assert judged({HISTORY: OFF})[HISTORY][0] == "different"


def test_other_names_of_the_same_weights() -> None:
    """Equal predictions accuse a model only of weights that differ, and only where they are known."""
    key = TRAIN, ONNX
    assert judged({ONNX: OFF}, tests=EQUAL)[ONNX][0] == "different"
    assert judged({ONNX: OFF}, tests=EQUAL, same_weights={key})[ONNX] == ("statistically equal", "a test")
    assert judged({ONNX: OFF}, tests=EQUAL, missing={key: "no cache has it"})[ONNX][0] == "unknown"


def test_a_model_that_cannot_be_had() -> None:
    """A model.keras of which only the hash is known is not different beside an equal model.onnx: its date may be."""
    missing = {(TRAIN, KERAS): "no cache has it"}
    assert judged({KERAS: OFF}, tests=EQUAL, missing=missing)[KERAS][0] == "unknown"
    assert judged({KERAS: OFF}, tests=EQUAL)[KERAS][0] == "different"


def test_no_hash() -> None:
    """An output without a hash is unknown, however equal the records are."""
    here = side("")
    stages = {**here.stages, EVALUATE: replace(here.stages[EVALUATE], outs={SCORES: ""})}
    records = replace(here, stages=stages)
    rows = judge([TRAIN, EVALUATE], Facts(records, records))
    assert (rows[-1].verdict, rows[-1].detail) == ("unknown", "no hash in dvc.lock")


def test_one_path_of_two_stages() -> None:
    """An entry of dvc.lock that dvc.yaml no longer has does not hide the output of another stage."""
    sides = [
        Records({"old": Stage({}, {"x": mark}, "", ""), "new": Stage({}, {"x": "1"}, "", "")}, {}, {}, frozenset())
        for mark in "ab"
    ]
    assert [row.verdict for row in judge(["old", "new"], Facts(sides[0], sides[1]))] == ["different", "byte-equal"]
