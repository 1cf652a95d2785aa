"""Quality gates: checks each model against the limits of params.yaml, and against its accepted version."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from stages.report.config import Gate, Gates
from stages.report.facts import Facts
from stages.report.formats import p_value
from stages.report.models.model_facts import ModelFacts
from stages.report.models.pairs import compare
from stages.report.statistics.paired_tests import SIGNIFICANT

Status = Literal["passed", "failed", "not judged"]
FIGURES = {  # gate: column in metrics.csv of the figure that it limits
    "lower_bound": "test_accuracy_low",
    "gap_points": "gap_points",
    "calibration_error": "calibration_error",
    "mean_error": "mean_absolute_error_high",
}
MINIMUMS = ("lower_bound",)  # the other limits are maximums


@dataclass(frozen=True)
class Check:
    """The result of one gate of one model."""

    model: str
    gate: str
    status: Status
    sentence: str


@dataclass(frozen=True)
class GateResults:
    """The results of all gates of all models."""

    checks: tuple[Check, ...]
    note: str | None  # the reason why limits were not applied
    models: Mapping[str, str]  # SHA-256 of each model.onnx, so that a later model is not taken for this one

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.status == "failed"]

    @property
    def summary(self) -> str:
        """Numbers of passed and failed gates, as text."""
        passed = sum(check.status == "passed" for check in self.checks)
        return f"{passed} passed, {len(self.failed)} failed"

    def record(self) -> dict[str, Any]:
        """Returns the content of gates.json."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": not self.failed, "note": self.note, "models": dict(self.models), "checks": checks}


def check_models(facts: Facts, gates: Gates, accepted: Mapping[str, ModelFacts] | None = None) -> GateResults:
    """Checks each model of `facts` against its gates, and against its `accepted` version where versions are given.

    The limits are meant for the real data set: on a stand-in only the check for suspicious results applies.
    """
    original = facts.data.description.stand_in_for
    models = {model.name: model for model in facts.models}
    checks: list[Check] = []
    for name, model in models.items():
        checks.append(_not_perfect(model))
        if original is None:
            gate = gates.of(name)
            checks += _limits(model, gate)
            if gate.not_worse_than and gate.not_worse_than != name:
                checks.append(_not_worse("not_worse_than", model, models[gate.not_worse_than], gate.not_worse_than))
        if accepted is not None:
            checks.append(_not_worse("accepted", model, accepted.get(name), "the accepted version"))
    used = facts.data.description.name
    note = f"{used} only stands in for {original}: the limits are not applied" if original else None
    digests = {name: model.files["model.onnx"].sha256 for name, model in models.items()}
    return GateResults(tuple(checks), note, digests)


def _not_perfect(model: ModelFacts) -> Check:
    if model.suspicion:
        return Check(model.name, "not_perfect", "failed", model.suspicion)
    return Check(model.name, "not_perfect", "passed", model.errors_text)


def _limits(model: ModelFacts, gate: Gate) -> list[Check]:
    limits, metrics = gate.model_dump(exclude_none=True), model.test_metrics
    return [
        _check_limit(model.name, name, metrics[column], limits[name])
        for name, column in FIGURES.items()
        if name in limits and column in metrics
    ]


def _check_limit(model: str, gate: str, figure: float, limit: float) -> Check:
    passed = figure >= limit if gate in MINIMUMS else figure <= limit  # NaN fails
    direction = "least" if gate in MINIMUMS else "most"
    sentence = f"{format_beside(figure, limit)}, at {direction} {limit:g}"
    return Check(model, gate, "passed" if passed else "failed", sentence)


def format_beside(figure: float, limit: float) -> str:
    """Rounds `figure` to four digits, or to as many as needed to stay below, at or above `limit`."""
    if math.isnan(figure):
        return "not known"
    side = (figure < limit, figure > limit)
    texts = (f"{figure:.{digits}g}" for digits in range(4, 18))
    return next(text for text in texts if (float(text) < limit, float(text) > limit) == side)


def _not_worse(gate: str, model: ModelFacts, other: ModelFacts | None, name: str) -> Check:
    """Fails when the test images show that `model` is worse than `other`: p of the single test below 0.05."""
    if other is None:
        return Check(model.name, gate, "not judged", f"{name} does not exist")
    pair = compare(model, other)
    if pair is None:
        return Check(model.name, gate, "not judged", f"{name} was examined on other {model.noun}s or labels")
    worse = pair.test.difference < 0 and pair.test.p < SIGNIFICANT
    verdict = "worse than" if worse else "not worse than"
    sentence = f"{verdict} {name} ({model.test_name}, {p_value(pair.test.p)})"
    return Check(model.name, gate, "failed" if worse else "passed", sentence)
