"""Quality gates: checks each model against the limits of params.yaml, the trivial answer, and its accepted version."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from stages.report.config import Gate, Gates
from stages.report.facts import Facts
from stages.report.formats import NOT_KNOWN, on_its_side, p_value, plural
from stages.report.models.model_facts import ModelFacts
from stages.report.models.pairs import compare
from stages.report.models.trivial import NAME, TrivialAnswer
from stages.report.statistics.paired_tests import SIGNIFICANT, can_differ

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
        """Numbers of passed, failed and not judged gates, as text."""
        counts = self.counts
        not_judged = f", {counts['not judged']} not judged" if counts["not judged"] else ""
        return f"{counts['passed']} passed, {counts['failed']} failed{not_judged}"

    @property
    def counts(self) -> dict[Status, int]:
        """Number of gates with each status."""
        statuses = [check.status for check in self.checks]
        return {status: statuses.count(status) for status in get_args(Status)}

    def record(self) -> dict[str, Any]:
        """Returns the content of gates.json; `passed` is null where no gate failed, but some could not be judged."""
        passed = False if self.failed else None if self.counts["not judged"] else True
        checks = [asdict(check) for check in self.checks]
        return {
            "passed": passed,
            "counts": self.counts,
            "note": self.note,
            "models": dict(self.models),
            "checks": checks,
        }


def check_models(facts: Facts, gates: Gates, accepted: Facts | None = None) -> GateResults:
    """Checks each model of `facts` against its gates, and against its version in `accepted` if that is given.

    The limits are meant for the real data set, so on a stand-in no model passes one, and none fails. What holds for any
    data is judged there too: a model is better than the trivial answer, its result is not too good to be true, and it
    is not worse than its accepted version, if that was examined on the same test samples.
    """
    original = facts.data.description.stand_in_for
    models = {model.name: model for model in facts.models}
    trivial = {model.name: group.trivial for group in facts.groups for model in group.models}
    checks: list[Check] = []
    for name, model in models.items():
        gate = gates.of(name)
        limits = [_not_perfect(model), *_limits(model, gate)]
        if gate.not_worse_than and gate.not_worse_than != name:
            limits.append(_not_worse("not_worse_than", model, models[gate.not_worse_than], gate.not_worse_than))
        checks += [_not_judged(check) for check in limits] if original else limits
        checks.append(_better_than_trivial(model, trivial[name]))
        if accepted is not None:
            checks.append(_not_worse_than_accepted(facts, model, accepted))
    used = facts.data.description.name
    note = f"{used} only stands in for {original}: the limits are not judged" if original else None
    digests = {name: model.files["model.onnx"].sha256 for name, model in models.items()}
    return GateResults(tuple(checks), note, digests)


def _not_perfect(model: ModelFacts) -> Check:
    if model.suspicion:
        return Check(model.name, "not_perfect", "failed", model.suspicion)
    return Check(model.name, "not_perfect", "passed", model.errors_text)


def _not_judged(check: Check) -> Check:
    """Returns a gate on a stand-in: its figures are shown, but only a result that is too good to be true fails."""
    return check if (check.gate, check.status) == ("not_perfect", "failed") else replace(check, status="not judged")


def _better_than_trivial(model: ModelFacts, trivial: TrivialAnswer) -> Check:
    """Fails unless the test samples show that the model is better than the trivial answer."""
    gate, samples = "better_than_trivial", len(trivial.labels)
    if not trivial.can_be_beaten:
        images = plural(samples, f"test {model.noun}")
        sentence = f"{trivial.answer} is wrong for {trivial.errors} of {images}, too few to tell"
        return Check(model.name, gate, "not judged", sentence)
    test = trivial.test(model)
    scores = f"{model.format_score(model.score)}, {NAME} {model.format_score(trivial.score)} ({trivial.answer})"
    sentence = f"{scores}; {model.test_name}, {p_value(test.p)}"
    return Check(model.name, gate, "passed" if trivial.is_beaten_by(model) else "failed", sentence)


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
        return NOT_KNOWN
    return on_its_side((f"{figure:.{digits}g}" for digits in range(4, 18)), figure, limit)


def _not_worse_than_accepted(facts: Facts, model: ModelFacts, accepted: Facts) -> Check:
    other = next((other for other in accepted.models if other.name == model.name), None)
    if other is not None and not facts.data.has_same_test_part(accepted.data):
        sentence = f"the accepted version was examined on other {model.noun}s or labels"
        return Check(model.name, "accepted", "not judged", sentence)
    return _not_worse("accepted", model, other, "the accepted version")


def _not_worse(gate: str, model: ModelFacts, other: ModelFacts | None, name: str) -> Check:
    """Fails when the test images show that `model` is worse than `other`: p of the single test below 0.05."""
    if other is None:
        return Check(model.name, gate, "not judged", f"{name} does not exist")
    pair = compare(model, other)
    if pair is None:
        return Check(model.name, gate, "not judged", f"{name} has another task or other targets")
    worse = pair.test.difference < 0 and pair.test.p < SIGNIFICANT
    verdict = "worse than" if worse else "not shown to be worse than"
    sentence = f"{verdict} {name} ({pair.difference_text}; {model.test_name}, {p_value(pair.test.p)})"
    samples = len(model.labels)
    if pair.test.agreement and pair.test.difference < 0 and not can_differ(samples):
        return Check(model.name, gate, "not judged", f"{sentence}: {plural(samples, model.noun)}, too few to tell")
    return Check(model.name, gate, "failed" if worse else "passed", sentence)
