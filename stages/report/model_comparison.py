"""Verdicts on comparisons of models, which page and summary share."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.report.facts import ModelGroup
from stages.report.formats import count, enumerate_words, p_value, plural
from stages.report.models.pairs import Pair

MAX_NAMED = 3  # runners-up that a headline names; more are counted


class Verdict(NamedTuple):
    """The result of a comparison in one line, and the evidence for it."""

    headline: str
    evidence: str


def verdict(group: ModelGroup) -> Verdict:
    """Returns the verdict on a group: the model chosen on the validation part, and what the test images say."""
    best = group.best
    samples = plural(len(best.predictions), f"test {best.noun}")
    sentences = [
        f"{best.name} {group.criterion.claim(best)}." if len(group.models) > 1 else "",
        f"On {samples} {best.name} {best.result} (95% interval {best.interval_text}).",
        best.suspicion and f"{best.suspicion.capitalize()}.",
        _runner_up(group),
    ]
    unranked = f"None of the {len(group.models)} models is chosen: there is no validation score to choose by"
    return Verdict(_headline(group) if group.is_ranked else unranked, " ".join(filter(None, sentences)))


def leaders(group: ModelGroup) -> list[str]:
    """Returns the names of the chosen model and of those that the test images do not show to be worse; else none."""
    if not group.is_ranked:
        return []
    return [group.best.name, *(pair.second.name for pair in group.against_best if not _is_worse(pair))]


def _is_worse(pair: Pair) -> bool:
    return pair.significant and pair.test.difference > 0


def recipes(group: ModelGroup) -> str:
    """Returns the verdicts on the recipes of a group; empty for a single model."""
    tested = [pair for pair in group.recipe_pairs if pair.test]
    if not tested:
        return "One seed for each model: these are comparisons of weights, not of recipes." if group.pairs else ""
    phrases = [
        f"{pair.weights.first.name} and {pair.weights.second.name}: {pair.verdict}"
        f" ({pair.difference_text}, interval {pair.interval_text})"
        for pair in tested[:MAX_NAMED]
    ]
    more = f"; {len(tested) - MAX_NAMED} more on the page" if len(tested) > MAX_NAMED else ""
    return f"Recipes, over all seeds: {'; '.join(phrases)}{more}."


def _headline(group: ModelGroup) -> str:
    best, rivals, total = group.best, leaders(group)[1:], len(group.models)
    if total == 1:
        return f"{best.name} {best.result}"
    better = [pair.second.name for pair in group.against_best if pair.significant and not _is_worse(pair)]
    if better:
        names = enumerate_words(better) if len(better) <= MAX_NAMED else f"{len(better)} others"
        verb = "is" if len(better) == 1 else "are"
        return f"{best.name} is the best on the validation part, but {names} {verb} better on the test {best.noun}s"
    if not rivals:
        return f"{best.name} is the best of {total} models: it {best.result}"
    few = len(rivals) <= MAX_NAMED
    if any(pair.significant for pair in group.pairs if {pair.first.name, pair.second.name} <= set(rivals)):
        others = enumerate_words(rivals, "or") if few else f"{len(rivals)} others"
        return f"Not enough evidence that {best.name}, which {best.result}, is better than {others}"
    top = len(rivals) + 1
    if top == total > 2:
        return f"Not enough evidence of a difference between the {total} models"
    names = enumerate_words([best.name, *rivals]) if few else f"{best.name} and {len(rivals)} others"
    top_of = f", the top {top} of {total} models" if top < total else ""
    return f"Not enough evidence of a difference between {names}{top_of}"


def _runner_up(group: ModelGroup) -> str:
    if not group.against_best:
        return ""
    pair = group.against_best[0]
    several = len(group.models) > 2
    correction = f", both Holm-corrected for {count(len(group.pairs))} comparisons" if several else ""
    test = f"{pair.first.test_name}, {p_value(pair.corrected_p)}{correction}"
    name, interval = pair.second.name, f"{_interval_name(several)} {pair.interval_text}"
    if not pair.test.difference:
        return f"{name} has the same score ({interval} of the difference; {test})."
    order = group.criterion.name if group.is_ranked else "name"
    score = f"{name} is next by {order}, with {pair.second.format_score(pair.second.score)}"
    chance = "" if pair.significant else "; the difference may be chance"
    return f"{score} (difference {pair.difference_text}, {interval}; {test}){chance}."


def _interval_name(several: bool) -> str:
    """Returns the name of a difference's interval, which is wider than 95% where several comparisons are made."""
    return "corrected interval" if several else "95% interval"


def pair_verdict(pair: Pair) -> str:
    """Returns the result of a comparison of two models."""
    better = pair.first if pair.test.difference > 0 else pair.second
    return f"{better.name} is better" if pair.significant else _insignificant(pair)


def version_verdict(pair: Pair) -> str:
    """Returns the result of a comparison of a model's new version, the first of `pair`, with its old one."""
    better = "better" if pair.test.difference > 0 else "worse"
    return better if pair.significant else _insignificant(pair)


def _insignificant(pair: Pair) -> str:
    agreement = pair.test.agreement
    if agreement is not None and not agreement.only_first and not agreement.only_second:
        return f"right on the same {pair.first.noun}s"
    return "cannot tell" if pair.test.difference else "level"


def versions_verdict(
    changes: Mapping[str, Pair], unchanged: Sequence[str] = (), untested: Sequence[str] = ()
) -> Verdict:
    """Returns the verdict on two versions of a project.

    Args:
        changes: for each model that both versions have, its new version against its old one.
        unchanged: names of the models with the same bytes in both versions, which are not in `changes`.
        untested: names of the models that both versions have with different tasks or targets.
    """
    verdicts = {name: version_verdict(pair) for name, pair in changes.items()}
    parts = [
        f"{enumerate_words(names)} became {change}"
        for change in ("better", "worse")
        if (names := [name for name, verdict in verdicts.items() if verdict == change])
    ]
    if changes:
        headline = enumerate_words(parts) or "Not enough evidence of a change"
    elif untested:
        headline = "No changed model can be compared"
    else:
        headline = "Nothing changed" if unchanged else "The two versions have no model in common"
    kind = _interval_name(len(changes) > 1)
    figures = [
        f"{name}: difference {pair.difference_text} ({kind} {pair.interval_text}; {p_value(pair.corrected_p)})."
        for name, pair in list(changes.items())[:MAX_NAMED]
    ]
    same = [f"Unchanged, the same bytes: {enumerate_words(unchanged)}."] if unchanged else []
    other = [f"Not compared, of another task or other targets: {enumerate_words(untested)}."] if untested else []
    return Verdict(headline, " ".join([*figures, *same, *other]))
