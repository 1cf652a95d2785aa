"""What the comparisons of the models come to, in words; page and summary share every one."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.report.facts import Facts, Group, ValueGroup
from stages.report.formats import chance, count, listed, number, percent, plural, points, span
from stages.report.model_facts import ModelFacts, ValueFacts
from stages.report.statistics.paired_tests import Pair

NAMED = 3  # at most this many models that the best cannot be told from stand in the headline


class Verdict(NamedTuple):
    """What the comparison comes to: one line, and the evidence for it."""

    headline: str
    evidence: str


def verdict(facts: Facts) -> Verdict:
    """The best model, or that the test images cannot tell the best ones apart."""
    return verdict_of(facts.lead)


def verdict_of(group: Group | ValueGroup) -> Verdict:
    """The same of one group of models."""
    return Verdict(_headline(group), " ".join([_best_in_numbers(group), *_next(group)]))


def level(group: Group | ValueGroup) -> list[str]:
    """The best model and those that the test images do not show to be worse."""
    return [group.best.name, *(name for name, pair in group.against_best.items() if not pair.shown)]


def _headline(group: Group | ValueGroup) -> str:
    best, (first, *rivals), n = group.best.name, level(group), len(group.models)
    if n == 1:
        return f"{best} {_score(group)}"
    if not rivals:
        return f"{best} is the best of {n} models: it {_score(group)}"
    named = listed([first, *rivals]) if len(rivals) <= NAMED else f"{best} and {len(rivals)} others"
    apart = any(pair.shown for pair in group.pairs if {pair.first, pair.second} <= {first, *rivals})
    if apart:  # each is level with the best, and yet two of them are not with each other
        near = listed(rivals, "or") if len(rivals) <= NAMED else f"{len(rivals)} others"
        return f"No evidence sets {best}, which {_score(group)}, apart from {near}"
    if len(rivals) + 1 < n:
        return f"No evidence of a difference between {named}, at the top of {n} models"
    return f"No evidence of a difference between {named if n == 2 else f'the {n} models'}"


def _score(group: Group | ValueGroup) -> str:
    if isinstance(group, ValueGroup):
        return f"misses the value by {number(group.best.mean_error)} on average"
    return f"reads {percent(group.best.exam.accuracy)} of the test images right"


def _best_in_numbers(group: Group | ValueGroup) -> str:
    return _of_values(group.best) if isinstance(group, ValueGroup) else _of_classes(group.best)


def _of_classes(best: ModelFacts) -> str:
    low, high = map(percent, best.interval)
    right = f"{count(best.exam.samples - best.exam.errors)} of {count(best.exam.samples)}"
    said = f"{best.name} reads {right} test images right (95% interval {low} to {high})."
    if not best.exam.errors:
        said += " No error at all is suspicious: look for test images among the training images."
    return said


def _of_values(best: ValueFacts) -> str:
    low, high = map(number, best.interval)
    return (
        f"Over {count(len(best.misses))} test images {best.name} has a mean absolute error of "
        f"{number(best.mean_error)} (95% interval {low} to {high})."
    )


def _next(group: Group | ValueGroup) -> list[str]:
    """The runner-up against the best, in numbers."""
    if not group.against_best:
        return []
    pair = next(iter(group.against_best.values()))
    if isinstance(group, ValueGroup):
        low, high = map(number, pair.interval)
        more, test = f"{number(pair.difference)} more", "paired t test"
        interval = f"95% interval {low} to {high}"
    else:
        more, test = f"{plural(pair.more_errors, 'error')} more", "exact McNemar test"
        interval = f"difference {span(pair.interval)} points"
    of = "" if len(group.models) < 3 else f", Holm-corrected for {count(len(group.pairs))} comparisons"
    comes = f"Level with it is {pair.second}" if not pair.difference else f"Next comes {pair.second} with {more}"
    chances = ": that may be chance" if pair.difference and not pair.shown else ""
    return [f"{comes} ({interval}; {chance(pair.corrected_p)}, {test}{of}){chances}."]


def judgement(pair: Pair) -> str:
    """What a comparison of two models comes to."""
    return f"{pair.first if pair.difference > 0 else pair.second} is better" if pair.shown else _untold(pair)


def change(pair: Pair) -> str:
    """What became of a model from its old version, the second of `pair`, to its new one."""
    if not pair.shown:
        return _untold(pair)
    return "better" if pair.difference > 0 else "worse"


def _untold(pair: Pair) -> str:
    if pair.seen is not None and not pair.seen.only_first and not pair.seen.only_second:
        return "right on the same images"
    return "cannot tell" if pair.difference else "level"


def changed(models: Sequence[str], pairs: Sequence[Pair], unchanged: Sequence[str] = ()) -> Verdict:
    """What became of every model that two runs share; `unchanged` are those of the same bytes, of no `pairs`."""
    said = {kind: [m for m, p in zip(models, pairs, strict=True) if change(p) == kind] for kind in ("better", "worse")}
    parts = [f"{listed(names)} became {kind}" for kind, names in said.items() if names]
    headline = listed(parts) if parts else "No evidence of a change"
    if not models:
        headline = "Nothing changed" if unchanged else "The two runs have no model in common"
    figures = [
        f"{model}: {points(100 * pair.difference)} points (95% interval {span(pair.interval)}; "
        f"{chance(pair.corrected_p)})."
        if pair.seen
        else f"{model}: mean absolute error less by {number(pair.difference)} ({chance(pair.corrected_p)})."
        for model, pair in list(zip(models, pairs, strict=True))[:NAMED]
    ]
    same = [f"Unchanged, the same bytes: {listed(unchanged)}."] if unchanged else []
    return Verdict(headline, " ".join([*figures, *same]))
