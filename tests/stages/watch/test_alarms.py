"""The sentences of alarms, what an acknowledgement accepts, and records of earlier versions."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.watch.comparisons import CLASSES, UNSURE, Comparison, MeanTest
from stages.watch.record import MEASURED_IMAGES, Alarm, ComparisonRecord, Record
from stages.watch.sentences import acknowledged
from stages.watch.update import acknowledge, update

START = datetime(2026, 11, 28, tzinfo=UTC)
DOUBT = Comparison(UNSURE, ("sure", "unsure"), (), (70, 30), (MeanTest("more", np.array([0.0, 1.0]), 0.3),))
ANSWERS = Comparison(
    CLASSES, ("a", "b"), (), (70, 30),
    tuple(MeanTest(label, np.array(scores), bound) for label, scores, bound in (
        ("a: more often", [1.0, 0.0], 0.75), ("a: less often", [0.0, 1.0], 0.35),
        ("b: more often", [0.0, 1.0], 0.35), ("b: less often", [1.0, 0.0], 0.75),
    )),
)  # fmt: skip
SHARES = re.compile(r"([\d.]+)%, expected ([\d.]+)%")


def new_record() -> Record:
    """Returns the record of a model of which nothing was seen."""
    return Record(model_sha256="a" * 64, model="coin", rate=0.01, first=START.isoformat(), last=START.isoformat())


def flips(count: int, share: float, seed: int) -> NDArray[np.int64]:
    """Returns bins (count, 1), of which about `share` are 1."""
    return (np.random.default_rng(seed).random((count, 1)) < share).astype(np.int64)


def alarmed_by_a_slow_change(seed: int) -> tuple[Record, int]:
    """Returns a record at its alarm, after a share that rises by and by, and the batches of 32 images until then."""
    record = new_record()
    for batch in range(3000):
        share = 0.3 + min(batch, 200) / 200 * 0.025
        if update(record, [DOUBT], flips(32, share, seed * 10_000 + batch), time(batch)):
            return record, batch
    raise AssertionError("no alarm")


def time(batch: int) -> str:
    """Returns a time that tells the number of the batch."""
    return (START + timedelta(minutes=batch)).isoformat()


@pytest.mark.parametrize("seed", range(6))
def test_the_alarm_of_a_slow_change_tells_the_change(seed: int) -> None:
    """Its sentence has a share above the expected one, and it began well before the alarm."""
    record, batch = alarmed_by_a_slow_change(seed)
    [alarm] = record.alarms
    found = SHARES.search(alarm.sentence)
    assert found and float(found[1]) > float(found[2]) == 30, alarm.sentence
    assert START <= datetime.fromisoformat(alarm.began) <= START + timedelta(minutes=batch - 30)


@pytest.mark.parametrize("normal", [0, 1000, 5000])
def test_a_standing_alarm_is_acknowledged_whatever_came_since(normal: int) -> None:
    """After an alarm and normal images, `acknowledge` measures the statistic, and its source raises no other alarm."""
    record = new_record()
    assert update(record, [DOUBT], flips(100, 0.9, 0), time(0))
    update(record, [DOUBT], flips(normal, 0.1, 1), time(1))
    assert acknowledge(record, "why", "ada", time(2)) == [UNSURE] and record.alarms == []
    [item] = record.comparisons
    assert acknowledged(item) == [f"unsure answers: 0 of {MEASURED_IMAGES} images are measured, then it is tested"]
    for batch in range(20):
        assert update(record, [DOUBT], flips(100, 0.9, 10 + batch), time(3)) == []


def test_an_alarm_whose_statistic_is_no_longer_compared_measures_nothing() -> None:
    """The levels of doubt of a model can change: then nothing of an earlier alarm can be measured."""
    record = new_record()
    assert update(record, [DOUBT], flips(100, 0.9, 0), time(0))
    update(record, [ANSWERS], flips(100, 0.3, 1), time(1))
    assert acknowledge(record, "why", "ada", time(2)) == [] and record.alarms == []


def test_the_acknowledged_shares_of_classes_are_one_sentence() -> None:
    """They are as the test uses them: what was measured and its uncertainty, and at least what was expected before."""
    record = new_record()
    assert update(record, [ANSWERS], flips(300, 0.6, 0), time(0))
    assert acknowledge(record, "why", "ada", time(1)) == [CLASSES]
    assert update(record, [ANSWERS], flips(MEASURED_IMAGES, 0.6, 1), time(2)) == []
    [item] = record.comparisons
    [sentence] = acknowledged(item)
    more_a, less_a, more_b, less_b = (test.accepted or 0 for test in item.tests)
    assert (more_a, less_b) == (0.75, 0.75) and 0.6 < less_a == more_b < 0.75
    assert sentence == (f"predicted classes: acknowledged is a {1 - less_a:.1%} to 75.0%, b 25.0% to {more_b:.1%}")


def as_earlier(record: Record) -> dict[str, Any]:
    """Returns the content of a record as an earlier version wrote it: each test had the run of the bet of a tenth."""
    content: dict[str, Any] = json.loads(record.model_dump_json())
    for item in content["comparisons"]:
        for test in item["tests"]:
            test |= {name: test[name][2] for name in ("run", "seen", "total", "since")}
    return content


def test_a_record_with_one_run_for_each_test_is_read() -> None:
    """Records of earlier versions are read; no bet has wealth without a run, and alarms tell the change."""
    for seed in range(3):
        record = new_record()
        for batch in range(400):
            update(record, [DOUBT], flips(10, 0.32, seed * 10_000 + batch), time(batch))
        assert not record.alarms
        again = Record.model_validate(as_earlier(record))
        [test] = again.comparisons[0].tests
        assert all(wealth <= run for wealth, run in zip(test.wealth, test.run, strict=True)) and len(test.since) == 6
        alarms: list[Alarm] = []
        while not alarms:
            batch += 1
            alarms = update(again, [DOUBT], flips(10, 0.4, seed * 10_000 + batch), time(batch))
        found = SHARES.search(alarms[0].sentence)
        assert found and float(found[1]) > float(found[2]), alarms[0].sentence


@pytest.mark.parametrize("change", [{"run": "1"}, {"seen": None}, {"wealth": None}, {"wealth": ["a"]}])
def test_an_earlier_record_with_impossible_values_is_damaged(change: dict[str, Any]) -> None:
    """A test with one run is checked as the others are."""
    record = new_record()
    update(record, [DOUBT], flips(10, 0.3, 0), time(0))
    content = as_earlier(record)
    content["comparisons"][0]["tests"][0] |= change
    with pytest.raises(ValueError, match="validation error"):
        ComparisonRecord.model_validate(content["comparisons"][0])
