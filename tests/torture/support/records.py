"""The record of a watched model whose names are those of a test."""

from stages.watch.evidence import FRACTIONS
from stages.watch.record import Alarm, ComparisonRecord, Decision, Point, Record, TestRecord

MOMENT = "2026-11-28T00:00:00+00:00"


def watched(model: str, class_name: str, author: str) -> Record:
    """Returns a record with an alarm and a decision; its model, its first class and the person have these names."""
    ones = [1.0] * len(FRACTIONS)
    test = TestRecord(label=class_name, wealth=ones, run=ones, seen=ones, total=ones, since=[MOMENT] * len(FRACTIONS))
    comparison = ComparisonRecord(
        name="classes", bins=[class_name, "b"], edges=[], reference=[5, 5], recent=[9.0, 1.0], tests=[test],
        evidence=3.0, limit=2.0,
    )  # fmt: skip
    sentence = f"{class_name} is answered more often"
    alarm = Alarm(id="1", statistic="classes", sentence=sentence, since=MOMENT, began=MOMENT, images=9)
    decision = Decision(action="reset", reason=class_name, who=author, when=MOMENT, alarms=["1"])
    return Record(
        model_sha256="0" * 64, model=model, version=model, rate=0.01, first=MOMENT, last=MOMENT, images=9,
        comparisons=[comparison], alarms=[alarm], decisions=[decision],
        history=[Point(until=MOMENT, images=9, evidence={"classes": 3.0})],
    )  # fmt: skip
