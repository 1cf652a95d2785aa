"""The verdict on each output from given facts: which outputs decide about others, and what is not known."""

from dataclasses import replace
from typing import Any

import pytest

from flows.dvc_repo.history.links import Stage
from flows.machines.records import Difference, Records
from flows.machines.verdicts import Facts, Key, Verdict, judge

DATA, TRAIN, EVALUATE, EXPLAIN, REPORT = "data", "train@a", "evaluate@a", "explain@a", "report"
PREPARED, RAW = "data/prepared.npz", "data/raw.npz"
ONNX, KERAS, SEEDS, HISTORY = "models/a/model.onnx", "models/a/model.keras", "models/a/seeds", "models/a/history.csv"
PREDICTIONS, SCORES = "evaluation/a/predictions.parquet", "evaluation/a/metrics.json"
MAP, PAGE, TABLE, COPY = "evaluation/a/map.npy", "reports/index.html", "reports/table.csv", "reports/model.onnx"
GRAPH: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # what each stage reads and makes
    DATA: ((), (PREPARED, RAW)),
    TRAIN: ((PREPARED,), (ONNX, KERAS, SEEDS, HISTORY)),
    EVALUATE: ((RAW, ONNX), (PREDICTIONS, SCORES)),
    EXPLAIN: ((ONNX,), (MAP,)),
    REPORT: ((RAW, HISTORY, ONNX, SCORES), (PAGE, TABLE, COPY)),
}
KEYS: dict[str, Key] = {path: (stage, path) for stage, (_, outs) in GRAPH.items() for path in outs}
EQUAL = {"a": {"verdict": "statistically equal", "sentence": "a test"}}
TESTED = "statistically equal", "a test"
OFF = Verdict.DIFFERENT, "differs by 2e-06"
CLOSE = Verdict.TOLERANCE, "differs by 1e-06"
EXACT = Verdict.VALUES, ""
SEED = Difference("parameter", "models.a.seed", 0, 1)
SEED_LIST = Difference("parameter", "models.a.seeds", [0, 1, 2], [0, 1, 3])


def side(mark: str, *changed: str) -> Records:
    """Returns the records of a side, on which the outputs `changed` have hashes of their own."""

    def hashes(paths: tuple[str, ...]) -> dict[str, str]:
        return {path: mark if path in changed else "same" for path in paths}

    stages = {name: Stage(hashes(deps), hashes(outs), "", "") for name, (deps, outs) in GRAPH.items()}
    return Records(stages, {}, {}, frozenset())


def changed(records: Records, stage: str, **fields: Any) -> Records:
    """Returns records with other `deps` or `outs` of a stage."""
    return replace(records, stages={**records.stages, stage: replace(records.stages[stage], **fields)})


def judged(values: dict[str, tuple[Verdict, str]], **facts: Any) -> dict[str, tuple[str, str]]:
    """Returns verdict and detail of the outputs in `values`, which are those that differ."""
    found = {KEYS[path]: value for path, value in values.items()}
    rows = judge([*GRAPH], Facts(side("here", *values), side("there", *values), values=found, **facts))
    assert all(row.verdict is Verdict.BYTES for row in rows if row.output not in values)
    return {row.output: (str(row.verdict), row.detail) for row in rows if row.output in values}


@pytest.mark.parametrize("word", ["byte-equal", "value-equal"])
def test_other_scores_of_equal_predictions(word: str) -> None:
    """Scores that differ are different if the predictions do not, and unknown if they cannot be had."""
    values = {SCORES: OFF} | ({PREDICTIONS: EXACT} if word == "value-equal" else {})
    detail = f"predictions.parquet is {word}, and this is not: differs by 2e-06"
    assert judged(values, tests=EQUAL)[SCORES] == ("different", detail)
    found = judged(values, tests=EQUAL, missing={KEYS[SCORES]: "no cache has it"})
    assert found[SCORES] == ("unknown", "only the hashes are known: no cache has it")


def test_models_with_other_predictions_are_tested() -> None:
    """A model with predictions that differ has the verdict of the test, and so have its predictions and scores."""
    found = judged({SCORES: OFF, PREDICTIONS: OFF, ONNX: OFF, KERAS: OFF}, tests=EQUAL)
    assert found == dict.fromkeys([SCORES, PREDICTIONS, ONNX, KERAS], TESTED)


def test_rounding_of_another_processor() -> None:
    """What a training with a model within the tolerance made follows, also beyond it; the model itself may not."""
    found = judged({ONNX: CLOSE, HISTORY: OFF, SCORES: OFF, KERAS: OFF, SEEDS: OFF})
    assert found[HISTORY] == ("follows", "of the training of a model.onnx that is within tolerance")
    assert found[SCORES] == ("follows", f"made from {ONNX}, which is within tolerance")
    assert found[KERAS] == ("different", "model.onnx is within tolerance, and this is not: differs by 2e-06")
    assert found[SEEDS] == ("different", "differs by 2e-06")  # of other trainings
    assert judged({HISTORY: OFF})[HISTORY][0] == "different"


@pytest.mark.parametrize("word", ["byte-equal", "value-equal"])
def test_other_weights_with_equal_predictions(word: str) -> None:
    """Equal predictions are not those of other weights: the model is different, and all that its training made."""
    values = {ONNX: OFF, KERAS: OFF, SEEDS: OFF} | ({PREDICTIONS: EXACT} if word == "value-equal" else {})
    detail = f"the predictions are {word}, so they are not those of other weights; a test"
    assert judged(values, tests=EQUAL)[ONNX] == ("different", detail)
    assert judged(values, tests=EQUAL)[KERAS] == judged(values, tests=EQUAL)[SEEDS] == ("different", detail)


def test_other_names_of_the_same_weights() -> None:
    """Equal predictions accuse a model only of weights that differ, and only where they are known."""
    names = {"same_weights": {KEYS[ONNX]}, "tests": EQUAL}
    assert judged({ONNX: OFF, KERAS: OFF}, **names) == {ONNX: TESTED, KERAS: TESTED}
    assert judged({ONNX: OFF}, tests=EQUAL, missing={KEYS[ONNX]: "no cache has it"})[ONNX][0] == "unknown"


def test_seeds_with_equal_predictions() -> None:
    """Of the models in the folder `seeds` the predictions have the answers alone: equal ones do not accuse it."""
    assert judged({ONNX: CLOSE, SEEDS: OFF}, tests=EQUAL)[SEEDS] == TESTED


def test_other_stages_that_use_the_model() -> None:
    """Equal predictions decide about the scores of their own stage; what another stage made of the model is tested."""
    assert judged({ONNX: OFF, MAP: OFF}, same_weights={KEYS[ONNX]}, tests=EQUAL)[MAP] == TESTED


def test_a_model_that_cannot_be_had() -> None:
    """A model.keras of which only the hash is known is not different beside an equal model.onnx: its date may be."""
    missing = {KEYS[KERAS]: "no cache has it"}
    assert judged({KERAS: OFF}, tests=EQUAL, missing=missing)[KERAS][0] == "unknown"
    assert judged({KERAS: OFF}, tests=EQUAL)[KERAS][0] == "different"


def test_outputs_of_a_training_that_agree() -> None:
    """What a training made equal, or within the tolerance, does not follow a model that differs."""
    assert judged({ONNX: OFF, PREDICTIONS: OFF, HISTORY: CLOSE}, tests=EQUAL)[HISTORY] == ("within tolerance", CLOSE[1])


def test_other_seeds_with_the_same_median() -> None:
    """The exported median of other `seeds` can be the same: their folder is tested, and no output contradicts it."""
    values = {SEEDS: OFF, HISTORY: OFF, PREDICTIONS: OFF, KERAS: OFF}
    found = judged(values, tests=EQUAL, inputs={TRAIN: [SEED_LIST]})
    assert found[SEEDS] == found[PREDICTIONS] == TESTED
    assert found[HISTORY] == ("follows", "made with another models.a.seeds")
    assert found[KERAS][0] == "different"  # a model.onnx that is equal has equal weights in any case
    assert judged(values, tests=EQUAL)[SEEDS][0] == "different"


def test_another_seed() -> None:
    """What a stage makes with another seed follows it, if it has no test; the model has one."""
    values = {ONNX: OFF, MAP: OFF, HISTORY: OFF}
    found = judged(values, inputs={TRAIN: [SEED]})
    assert found[ONNX] == ("follows", "made with another models.a.seed")
    assert found[MAP] == ("follows", f"made from {ONNX}, which follows")
    assert found[HISTORY] == ("follows", "of the training of a model.onnx that follows")
    found = judged(values | {PREDICTIONS: OFF}, inputs={TRAIN: [SEED]}, tests=EQUAL)
    assert found[ONNX] == TESTED
    assert found[HISTORY] == ("follows", "of the training of a model.onnx that is statistically equal")


@pytest.mark.parametrize(
    ("data", "is_tested"),
    [
        pytest.param({}, True, id="byte-equal"),
        pytest.param({RAW: EXACT}, True, id="value-equal"),
        pytest.param({RAW: CLOSE}, True, id="tolerance"),
        pytest.param({PREPARED: OFF}, True, id="training-data"),
        pytest.param({RAW: OFF}, False, id="test-data"),
    ],
)
def test_test_data(data: dict[str, tuple[Verdict, str]], is_tested: bool) -> None:
    """A test needs the same test samples on both sides, at least within the tolerance; models may be any."""
    found = judged({ONNX: OFF, PREDICTIONS: OFF, SCORES: OFF, **data}, tests=EQUAL)
    assert found[SCORES] == (TESTED if is_tested else ("follows", f"made from {RAW}, which is different"))
    if PREPARED in data:
        assert found[ONNX] == ("follows", f"made from {PREPARED}, which is different")


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        pytest.param({RAW: CLOSE, HISTORY: OFF}, f"{HISTORY}, which is different", id="worst"),
        pytest.param({ONNX: CLOSE, HISTORY: OFF}, f"{HISTORY}, which follows", id="corrected"),
        pytest.param({ONNX: OFF}, f"{ONNX}, which is different", id="accused"),
        pytest.param({ONNX: OFF, PREDICTIONS: OFF}, f"{ONNX}, which is statistically equal", id="tested"),
    ],
)
def test_what_follows_names_the_worst(values: dict[str, tuple[Verdict, str]], cause: str) -> None:
    """An output without a test follows the worst output that it was made from, named with its final verdict."""
    assert judged({TABLE: OFF, **values}, tests=EQUAL)[TABLE] == ("follows", f"made from {cause}")


def test_pages_of_equal_values() -> None:
    """A page can show what equal values do not have, and follows; a table of equal values is different."""
    found = judged({RAW: EXACT, PAGE: OFF, TABLE: OFF}, unread={KEYS[PAGE]})
    assert found[PAGE] == ("follows", f"made from {RAW}, which is value-equal")
    assert found[TABLE] == OFF
    assert judged({PAGE: OFF}, unread={KEYS[PAGE]})[PAGE] == OFF  # what it was made from has equal bytes


def test_models_of_another_form() -> None:
    """A file model.onnx in another folder than models/NAME is as any other, and decides nothing about others."""
    assert judged({COPY: OFF, TABLE: OFF}) == {COPY: OFF, TABLE: OFF}
    assert judged({RAW: OFF, TABLE: OFF})[TABLE][0] == "follows"  # beside a copy with equal bytes


def test_contents_that_cannot_be_had() -> None:
    """An output of which only the hashes are known is unknown, and what is made from it follows."""
    found = judged({RAW: OFF, TABLE: OFF}, missing={KEYS[RAW]: "no cache has it"})
    assert found[RAW] == ("unknown", "only the hashes are known: no cache has it")
    assert found[TABLE] == ("follows", f"made from {RAW}, which is unknown")


def test_inputs_that_differ() -> None:
    """Results of other inputs are not comparable, nor what is made from them, unless they are the same bytes."""
    inputs = {DATA: [Difference(kind, "x", 1, 2) for kind in ("command", "parameter", "code", "data")]}
    found = judged({PREPARED: OFF, ONNX: OFF, MAP: OFF, SCORES: OFF}, inputs=inputs, tests=EQUAL)
    assert found[PREPARED] == ("not comparable", "its inputs differ: command x, parameter x, code x")
    assert found[ONNX] == ("not comparable", "made from results of data, which cannot be compared")
    assert found[MAP] == ("not comparable", "made from results of train@a, which cannot be compared")
    assert judged({ONNX: OFF}, inputs=inputs)[ONNX] == OFF  # the data have the same bytes: equal inputs


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_result_of_an_earlier_model(where: str) -> None:
    """Results of another model than dvc.lock has now are not comparable, on whichever side."""
    sides = {name: side(name, SCORES) for name in ("here", "there")}
    sides[where] = changed(sides[where], EVALUATE, deps={ONNX: "earlier", RAW: "same"})
    rows = {row.output: row for row in judge([*GRAPH], Facts(sides["here"], sides["there"]))}
    detail = f"{where}, it read another {ONNX} than the one that dvc.lock has now"
    assert (rows[SCORES].verdict, rows[SCORES].detail) == ("not comparable", detail)


@pytest.mark.parametrize("hashes", [("", ""), ("", "a"), ("a", "")])
def test_no_hash(hashes: tuple[str, str]) -> None:
    """An output without a hash, if only on one side, is unknown, however equal the records are."""
    here, there = (changed(side(""), REPORT, outs={TABLE: value}) for value in hashes)
    row = judge([*GRAPH], Facts(here, there))[-1]
    assert (row.verdict, row.detail) == ("unknown", "no hash in dvc.lock")


def test_one_path_of_two_stages() -> None:
    """An entry of dvc.lock that dvc.yaml no longer has does not hide the output of another stage."""
    sides = [
        Records({"old": Stage({}, {"x": mark}, "", ""), "new": Stage({}, {"x": "1"}, "", "")}, {}, {}, frozenset())
        for mark in "ab"
    ]
    assert [row.verdict for row in judge(["old", "new"], Facts(sides[0], sides[1]))] == ["different", "byte-equal"]
