"""Quality gates: each model held against the limits of params.yaml, and against versions that were accepted."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from stages.report.config import Gate, Gates
from stages.report.facts import Facts
from stages.report.formats import chance, number, plural
from stages.report.model_facts import ModelFacts, Trained, ValueFacts
from stages.report.statistics.paired_tests import SIGNIFICANT, compare, compare_values

Status = Literal["passed", "failed", "not judged"]


@dataclass(frozen=True)
class Check:
    """One gate of one model, and how it came out."""

    model: str
    gate: str
    status: Status
    sentence: str


@dataclass(frozen=True)
class Judgement:
    """All gates of all models."""

    checks: tuple[Check, ...]
    note: str | None  # why limits were not applied

    @property
    def failed(self) -> list[Check]:
        """Those that were not passed."""
        return [check for check in self.checks if check.status == "failed"]

    @property
    def passed(self) -> bool:
        """Whether none failed."""
        return not self.failed

    def record(self) -> dict[str, Any]:
        """As gates.json holds it."""
        return {"passed": self.passed, "note": self.note, "checks": [asdict(check) for check in self.checks]}


def judge(facts: Facts, gates: Gates, accepted: Mapping[str, Trained] | None = None) -> Judgement:
    """Hold each model of `facts` against its gates, and against its `accepted` version where there is one.

    The limits are meant for the real data: a stand-in is not judged by them, only for what is suspicious on any data.
    """
    wanted = facts.data.description.stand_in_for
    known = {model.name: model for model in facts.models}
    checks: list[Check] = []
    for name, model in known.items():
        checks.append(_not_perfect(model))
        if wanted is None:
            gate = gates.of(name)
            checks += _limits(model, gate)
            if gate.not_worse_than and gate.not_worse_than != name:
                checks.append(_not_worse("not_worse_than", model, known[gate.not_worse_than], gate.not_worse_than))
        if accepted is not None:
            checks.append(_not_worse("accepted", model, accepted.get(name), "the accepted version"))
    note = f"{facts.data.description.name} only stands in for {wanted}: the limits are not applied" if wanted else None
    return Judgement(tuple(checks), note)


def _not_perfect(model: Trained) -> Check:
    if isinstance(model, ModelFacts):
        perfect, said = not model.exam.errors, plural(model.exam.errors, "error")
    else:
        assert isinstance(model, ValueFacts)  # there is no third kind
        perfect = not model.mean_error or model.all_right
        said = f"mean absolute error {number(model.mean_error)}"
    if perfect:
        what = "every label right" if isinstance(model, ValueFacts) and model.mean_error else "no error at all"
        said = f"{what} is suspicious: look for test images among the training images"
    return Check(model.name, "not_perfect", "failed" if perfect else "passed", said)


def _limits(model: Trained, gate: Gate) -> list[Check]:
    if isinstance(model, ModelFacts):
        found = (
            _at_least(model.name, "lower_bound", model.interval.low, gate.lower_bound),
            _at_most(model.name, "gap_points", model.gap, gate.gap_points),
            _at_most(model.name, "calibration_error", model.scores.calibration_error, gate.calibration_error),
        )
        return [check for check in found if check]
    assert isinstance(model, ValueFacts)  # there is no third kind
    check = _at_most(model.name, "mean_error", model.interval.high, gate.mean_error)
    return [check] if check else []


def _at_least(model: str, gate: str, got: float, limit: float | None) -> Check | None:
    if limit is None:
        return None
    passed = got >= limit  # not a number fails
    return Check(model, gate, "passed" if passed else "failed", f"{beside(got, limit)}, at least {limit:g}")


def _at_most(model: str, gate: str, got: float, limit: float | None) -> Check | None:
    if limit is None:
        return None
    passed = got <= limit
    return Check(model, gate, "passed" if passed else "failed", f"{beside(got, limit)}, at most {limit:g}")


def beside(got: float, limit: float) -> str:
    """`got` rounded, with as many more digits as it takes to stand on its own side of `limit`."""
    if math.isnan(got):
        return "not known"
    sides = (got < limit, got > limit)
    texts = (f"{got:.{digits}g}" for digits in range(4, 18))
    return next(text for text in texts if (float(text) < limit, float(text) > limit) == sides)


def _not_worse(gate: str, model: Trained, other: Trained | None, name: str) -> Check:
    """Fail when the test images show that `model` is worse than `other`: p of the one comparison below 0.05."""
    if other is None:
        return Check(model.name, gate, "not judged", f"{name} does not exist")
    if isinstance(model, ModelFacts) and isinstance(other, ModelFacts) and _same_exam(model, other):
        pair, test = compare(model, other), "McNemar"
    elif isinstance(model, ValueFacts) and isinstance(other, ValueFacts) and _same_exam(model, other):
        pair, test = compare_values(model, other), "paired t test"
    else:
        return Check(model.name, gate, "not judged", f"{name} was examined on other images or labels")
    worse = pair.difference < 0 and pair.p < SIGNIFICANT
    said = "worse than" if worse else "not worse than"
    return Check(model.name, gate, "failed" if worse else "passed", f"{said} {name} ({test}, {chance(pair.p)})")


def _same_exam(model: Trained, other: Trained) -> bool:
    return len(model.labels) == len(other.labels) and bool((model.labels == other.labels).all())
