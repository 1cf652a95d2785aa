"""Adds what was seen to a record: bets, recent counts, history, and new alarms. Reads and writes no file."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.watch.bounds import largest_share
from stages.watch.comparisons import REFERENCE_RISK, Comparison, stream_limit
from stages.watch.evidence import FRACTIONS, Bets, bet, evidence, evidence_of_tests, no_bets
from stages.watch.record import (
    MEASURED_IMAGES,
    Alarm,
    ComparisonRecord,
    Decision,
    Measurement,
    Point,
    Record,
    TestRecord,
)
from stages.watch.sentences import change

RECENT_IMAGES = 300.0  # after so many images, the weight of one is 1 / e
RECENT_STEP = 50  # images that get the same weight
MAX_POINTS = 120  # of the history: then each two become one
ACCEPT_EVIDENCE = 20.0  # a test with so much is part of the change that a person acknowledges
NATS = math.log(10)


def update(record: Record, compared: Sequence[Comparison], bins: NDArray[Any], now: str) -> list[Alarm]:
    """Adds images to `record` and returns the new alarms.

    Args:
        record: is changed in place.
        compared: what is compared.
        bins: the bin of each image in each comparison (n, comparisons).
        now: the time, in ISO 8601.
    """
    if not len(bins):
        return []
    rest = [MEASURED_IMAGES - test.measuring.images for test in _tests(record) if test.measuring]
    if 0 < (start := min(rest, default=0)) < len(bins):  # a measurement ends in between
        return update(record, compared, bins[:start], now) + update(record, compared, bins[start:], now)
    earlier = {item.name: item for item in record.comparisons}
    record.comparisons = [
        _updated(earlier.get(item.name), item, bins[:, number], record.images, now, len(compared))
        for number, item in enumerate(compared)
    ]
    record.images += len(bins)
    record.all_images += len(bins)
    record.last = now
    found = {item.name: round(item.evidence, 3) for item in record.comparisons}
    record.history = _shortened([*record.history, Point(until=now, images=record.images, evidence=found)])
    standing = {alarm.statistic for alarm in record.alarms}
    new = [
        _alarm(record, item, now)
        for item in record.comparisons
        if item.evidence >= item.limit and item.name not in standing
    ]
    record.alarms += new
    return new


def acknowledge(record: Record, reason: str, who: str, now: str) -> list[str]:
    """Accepts the change, ends all alarms, and returns the names of the statistics with tests that are measured.

    Measured are all tests of a statistic whose alarm stands, whatever came since, and of the others each test with
    evidence, or whose measurement is under way: the next MEASURED_IMAGES raise no alarm, and their mean, plus what it
    is uncertain by, becomes the bound. The images before the decision set no bound: they are few, and were chosen by
    the alarm. All bets begin anew.
    """
    standing = {alarm.statistic for alarm in record.alarms}
    for item in record.comparisons:
        has_changed = _with_evidence(item, record.images) | (item.name in standing)
        for test, changed in zip(item.tests, has_changed, strict=True):
            if test.measuring or changed:
                test.measuring = Measurement()
        item.tests = [test.model_copy(update=_fields(no_bets(1), 0, [now])) for test in item.tests]
        item.evidence = 0.0
    _decide(record, Decision(action="acknowledge", reason=reason, who=who, when=now, alarms=_sentences(record)))
    return [item.name for item in record.comparisons if any(test.measuring for test in item.tests)]


def reset(record: Record, reason: str, who: str, now: str) -> None:
    """Forgets what was seen and what was accepted, and ends all alarms: the comparison begins anew."""
    _decide(record, Decision(action="reset", reason=reason, who=who, when=now, alarms=_sentences(record)))
    record.comparisons = []


def _with_evidence(item: ComparisonRecord, images: int) -> NDArray[np.bool_]:
    """Returns which tests of a comparison have evidence now, from all `images` or from those of a run."""
    bets = _bets(item)
    runs = np.logaddexp.reduce(bets.run, axis=1) - math.log(len(FRACTIONS))
    found: NDArray[np.bool_] = np.maximum(evidence_of_tests(bets, images), runs) >= math.log(ACCEPT_EVIDENCE)
    return found


def _tests(record: Record) -> Iterator[TestRecord]:
    return (test for item in record.comparisons for test in item.tests)


def _sentences(record: Record) -> list[str]:
    return [alarm.sentence for alarm in record.alarms]


def _decide(record: Record, decision: Decision) -> None:
    record.decisions.append(decision)
    record.alarms, record.history, record.images = [], [], 0


def _updated(
    old: ComparisonRecord | None, new: Comparison, bins: NDArray[Any], before: int, now: str, number: int
) -> ComparisonRecord:
    """Returns the record of one comparison after further images; an `old` one with other bins is forgotten."""
    labels = [test.label for test in new.tests]
    bets, moments, recent = no_bets(len(labels)), [now], np.zeros(len(new.reference))
    accepted: list[float | None] = [None] * len(labels)
    measured: list[Measurement | None] = [None] * len(labels)
    if old and [test.label for test in old.tests] == labels and len(old.recent) == len(recent):
        bets, recent = _bets(old), np.array(old.recent)
        moments = [*(since for test in old.tests for since in test.since), now]
        accepted, measured = [test.accepted for test in old.tests], [test.measuring for test in old.tests]
    parts = zip(new.tests, accepted, measured, strict=True)
    bounds = np.array([1.0 if under_way else max(test.bound, own or 0.0) for test, own, under_way in parts])
    bets = bet(bets, new, bounds, bins, before, len(moments) - 1)
    for row, (test, under_way) in enumerate(zip(new.tests, measured, strict=True)):
        if under_way:
            risk = REFERENCE_RISK / number / len(labels)
            expected = max(test.bound, accepted[row] or 0.0)
            mean, measured[row] = _measured(under_way, test.scores[bins], risk)
            accepted[row] = accepted[row] if mean is None else max(mean, expected)
    for start in range(0, len(bins), RECENT_STEP):
        some = bins[start : start + RECENT_STEP]
        recent = recent * math.exp(-len(some) / RECENT_IMAGES) + np.bincount(some, minlength=len(recent))
    tests = [TestRecord(label=label, accepted=accepted[row], measuring=measured[row],
                        **_fields(bets, row, moments))
             for row, label in enumerate(labels)]  # fmt: skip
    return ComparisonRecord(
        name=new.name,
        bins=list(new.bins),
        edges=list(new.edges),
        reference=list(new.reference),
        recent=[round(float(value), 3) for value in recent],
        tests=tests,
        evidence=evidence(bets, before + len(bins)) / NATS,
        limit=stream_limit(number) / NATS,
    )


def _measured(
    under_way: Measurement, scores: NDArray[np.float64], risk: float
) -> tuple[float | None, Measurement | None]:
    """Returns the largest mean that the images allow, after the last of them, and the measurement, before it."""
    images, total = under_way.images + len(scores), under_way.total + float(scores.sum())
    if images < MEASURED_IMAGES:
        return None, Measurement(images=images, total=total)
    return largest_share(total, images, risk), None


def _bets(item: ComparisonRecord) -> Bets:
    """Returns the bets of a record; the moment of each is its index."""
    columns = ("wealth", "run", "seen", "total")
    arrays = [np.array([getattr(test, name) for test in item.tests], np.float64) for name in columns]
    return Bets(arrays[0], arrays[1], arrays[2], arrays[3], np.arange(arrays[0].size).reshape(arrays[0].shape))


def _fields(bets: Bets, row: int, moments: Sequence[str]) -> dict[str, Any]:
    numbers = {name: getattr(bets, name)[row].tolist() for name in ("wealth", "run", "seen", "total")}
    return numbers | {"since": [moments[number] for number in bets.since[row]]}


def _alarm(record: Record, item: ComparisonRecord, now: str) -> Alarm:
    bets = _bets(item)
    strongest = int(np.argmax(evidence_of_tests(bets, record.images)))
    winner = int(np.argmax(bets.wealth[strongest]))  # the bet that earned the evidence: it has a run
    mean = float(bets.total[strongest, winner] / max(bets.seen[strongest, winner], 1))
    return Alarm(
        id=f"{record.model_sha256[:12]}.{item.name}.{len(record.decisions)}.{now}",
        statistic=item.name,
        sentence=change(item, strongest, mean),
        since=now,
        began=item.tests[strongest].since[winner],
        images=record.images,
    )


def _shortened(points: list[Point]) -> list[Point]:
    """Returns `points`, or every second one of too many, each with the larger evidence of two."""
    if len(points) <= MAX_POINTS:
        return points
    pairs = zip(points[0:-1:2], points[1::2], strict=False)
    merged = [
        second.model_copy(update={"evidence": {
            name: max(value, first.evidence.get(name, value)) for name, value in second.evidence.items()
        }})
        for first, second in pairs
    ]  # fmt: skip
    return merged + points[2 * len(merged) :]
