"""The verdict on each output of two machines. Pure functions; the facts come from `comparison`.

The verdicts, best first:

byte-equal            the same hash
value-equal           other bytes with the same values: another compression, order of keys or date
within tolerance      floats that differ by `--tolerance` at most
statistically equal   a model, or what it predicts: the report's own tests show no difference
follows               made from outputs that differ, and without a test of its own
unknown               the hashes differ, and the contents of one side cannot be had, or the test cannot be made
not comparable        parameters, code or data of its stage differ, or it was made from an output that is not comparable
different             equal inputs and another result, or a test that shows a difference
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from flows.machines.records import NO_HASH, Difference, Records

MODEL = re.compile(r"models/([^/]+)/(?:model\.onnx|model\.keras|seeds)")
EVALUATION = re.compile(r"evaluation/([^/]+)/[^/]+")
EXPORTED, TRAINED = "/model.onnx", "/model.keras"

Key = tuple[str, str]  # stage and path of an output: a stage that dvc.yaml no longer has can share its path


class Verdict(StrEnum):
    """The result of comparing one output, best first."""

    BYTES = "byte-equal"
    VALUES = "value-equal"
    TOLERANCE = "within tolerance"
    STATISTICS = "statistically equal"
    FOLLOWS = "follows"
    UNKNOWN = "unknown"
    NOT_COMPARABLE = "not comparable"
    DIFFERENT = "different"

    @property
    def phrase(self) -> str:
        """The verdict as the end of a sentence about an output."""
        return "follows" if self is Verdict.FOLLOWS else f"is {self}"


EXACT = (Verdict.BYTES, Verdict.VALUES)
SAME = (*EXACT, Verdict.TOLERANCE)
NO_ANSWER = (Verdict.UNKNOWN, Verdict.NOT_COMPARABLE)


@dataclass(frozen=True)
class Row:
    """The verdict on an output; `detail` says what it rests on."""

    stage: str
    output: str
    verdict: Verdict
    detail: str = ""

    @property
    def key(self) -> Key:
        """The stage and the path of the output."""
        return self.stage, self.output


@dataclass
class Facts:
    """All that the verdicts rest on; outputs by stage and path.

    Attributes:
        here: the records of this machine.
        there: those of the other one.
        inputs: how the own inputs of each stage differ.
        values: the comparison of the values, by output: a verdict of SAME or DIFFERENT, and its detail.
        unread: outputs whose values are not compared: of other formats, or too large.
        same_weights: exported models that differ in the names of their nodes, but not in their weights.
        missing: why the contents of an output cannot be compared, by output.
        tests: the result of the tests of each model, as stages.verify.agreement prints it.
    """

    here: Records
    there: Records
    inputs: Mapping[str, Sequence[Difference]] = field(default_factory=dict)
    values: Mapping[Key, tuple[Verdict, str]] = field(default_factory=dict)
    unread: Collection[Key] = ()
    same_weights: Collection[Key] = ()
    missing: Mapping[Key, str] = field(default_factory=dict)
    tests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[tuple[str, Records], tuple[str, Records]]:
        """The records of both sides, with the words for them."""
        return ("here", self.here), ("there", self.there)

    def hashes(self, stage: str, output: str) -> tuple[str, str]:
        """Returns the hash of an output here and there; empty where a side has no such output."""
        return tuple(side.stages[stage].outs.get(output, "") for side in (self.here, self.there))  # type: ignore[return-value]  # of two sides

    def is_same(self, stage: str, output: str) -> bool:
        """Whether both sides have the same hash of an output."""
        one, other = self.hashes(stage, output)
        return bool(one) and one == other


def judge(order: Sequence[str], facts: Facts) -> list[Row]:
    """Returns a row for each output of the stages `order`, each stage after those that it reads from."""
    rows: dict[Key, Row] = {}
    for stage in order:
        reads = _reads(stage, facts, rows)
        reason = _incomparable(stage, facts, reads)
        outputs = dict.fromkeys([*facts.here.stages[stage].outs, *facts.there.stages[stage].outs])
        for output in outputs:
            rows[stage, output] = Row(stage, output, *_verdict((stage, output), facts, reads, reason))
    for correct in (_by_predictions, _of_the_training, _made_from):
        rows = {key: correct(row, rows, facts) for key, row in rows.items()}
    return list(rows.values())


def _incomparable(stage: str, facts: Facts, reads: Sequence[Row]) -> str:
    """Returns why results of a stage cannot be compared: its inputs differ, or an output that it reads cannot be."""
    differing = [item for item in facts.inputs.get(stage, ()) if not item.is_draw]
    if differing:
        return "its inputs differ: " + ", ".join(f"{item.kind} {item.name}" for item in differing[:3])
    for name, side in facts.sides:
        if links := side.links.broken(stage):
            return f"{name}, it read another {links[0]} than the one that dvc.lock has now"
    makers = [row.stage for row in reads if row.verdict is Verdict.NOT_COMPARABLE]
    return f"made from results of {makers[0]}, which cannot be compared" if makers else ""


def _reads(stage: str, facts: Facts, rows: Mapping[Key, Row]) -> list[Row]:
    """Returns the rows of outputs that a stage reads and whose bytes differ, the worst first."""
    outs = dict.fromkeys(out for outs in facts.here.links.upstream(stage).values() for out in outs)
    found = [rows[key] for out in outs if (key := (facts.here.makers[out], out)) in rows]
    order = list(Verdict)
    return sorted((row for row in found if row.verdict is not Verdict.BYTES), key=lambda row: -order.index(row.verdict))


def _causes(key: Key, reads: Sequence[Row], facts: Facts) -> list[Row]:
    """Returns the rows of `reads` that can be the reason why an output differs."""
    # A file whose values are not compared, as a page, can show what the values do not have, as the name of a device.
    return [row for row in reads if row.verdict not in EXACT or key in facts.unread]


def _verdict(key: Key, facts: Facts, reads: Sequence[Row], reason: str) -> tuple[Verdict, str]:
    stage, output = key
    if facts.is_same(*key):
        return Verdict.BYTES, ""
    if reason:
        return Verdict.NOT_COMPARABLE, reason
    if not all(facts.hashes(*key)):
        return Verdict.UNKNOWN, NO_HASH
    values = facts.values.get(key, (Verdict.DIFFERENT, ""))
    if values[0] in SAME:
        return values
    tested, causes = facts.tests.get(model_of(output)), _causes(key, reads, facts)
    data = [row for row in causes if not MODEL.fullmatch(row.output)]
    if tested is not None and all(row.verdict in (*SAME, Verdict.STATISTICS) for row in data):
        return Verdict(tested["verdict"]), str(tested["sentence"])
    if causes:
        return Verdict.FOLLOWS, ""  # `_made_from` adds the detail
    if key in facts.missing:
        return Verdict.UNKNOWN, _only_hashes(key, facts)
    if draws := facts.inputs.get(stage):  # inputs that differ and are no draws are a `reason`
        return Verdict.FOLLOWS, f"made with another {draws[0].name}"
    return values


def _only_hashes(key: Key, facts: Facts) -> str:
    return f"only the hashes are known: {facts.missing[key]}"


def model_of(output: str) -> str:
    """Returns the model of which an output is the weights or the evaluation; empty for other outputs."""
    found = MODEL.fullmatch(output) or EVALUATION.fullmatch(output)
    return found[1] if found else ""


def _unlike(row: Row, other: Row, facts: Facts) -> Row:
    """Returns the row of an output that is different since `other`, which decides it, is not; unknown if missing."""
    if row.key in facts.missing:
        return replace(row, verdict=Verdict.UNKNOWN, detail=_only_hashes(row.key, facts))
    name, difference = other.output.rpartition("/")[2], facts.values.get(row.key, ("", ""))[1]
    detail = f"{name} is {other.verdict}, and this is not: {difference}"
    if row.output.endswith(EXPORTED):
        detail = f"the predictions are {other.verdict}, so they are not those of other weights; {row.detail}"
    return replace(row, verdict=Verdict.DIFFERENT, detail=detail)


def _by_predictions(row: Row, rows: Mapping[Key, Row], facts: Facts) -> Row:
    """Returns the row of a model or of its scores; equal predictions come of equal weights, and score alike."""
    if row.verdict is not Verdict.STATISTICS:
        return row
    path = f"evaluation/{model_of(row.output)}/predictions.parquet"
    predictions = rows[facts.here.makers[path], path]  # there is no test without them
    if EVALUATION.fullmatch(row.output):
        is_unlike = predictions.stage == row.stage
    else:
        is_unlike = row.output.endswith(EXPORTED) and row.key not in facts.same_weights
    return _unlike(row, predictions, facts) if is_unlike and predictions.verdict in EXACT else row


def _of_the_training(row: Row, rows: Mapping[Key, Row], facts: Facts) -> Row:
    """Returns the row of an output of a training, which the verdict on its exported model decides too."""
    path = row.output.rpartition("/")[0] + EXPORTED
    model = rows.get((row.stage, path)) if MODEL.fullmatch(path) else None
    if model is None or row.verdict in (*SAME, *NO_ANSWER):
        return row
    if row.output.endswith(TRAINED) and model.verdict in SAME:
        return _unlike(row, model, facts)
    if model.verdict in EXACT:  # with other `seeds`, the exported median can be the same
        return row if facts.inputs.get(row.stage) else _unlike(row, model, facts)
    if not MODEL.fullmatch(row.output):
        detail = f"of the training of a model.onnx that {model.verdict.phrase}"
        return replace(row, verdict=Verdict.FOLLOWS, detail=detail)
    return row if model.verdict is Verdict.TOLERANCE else replace(row, verdict=model.verdict, detail=model.detail)


def _made_from(row: Row, rows: Mapping[Key, Row], facts: Facts) -> Row:
    """Returns the row of an output that follows, which names the worst output that it was made from."""
    if row.verdict is not Verdict.FOLLOWS:
        return row
    causes = _causes(row.key, _reads(row.stage, facts, rows), facts)
    return replace(row, detail=f"made from {causes[0].output}, which {causes[0].verdict.phrase}") if causes else row
