"""What would run, be restored or stay, and why: a pure function of facts, carried downstream truthfully.

download ── unchanged
└─ prepare ── run: prepare.crop none → {top: 7, ...}
└─ train@cnn ── may run: depends on what prepare gives
└─ report ── may run: depends on what train@cnn gives
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from flows.engine.planning.change_messages import FORCED, HOW_TO_GET, Change, one_and_others, sentence
from flows.engine.planning.stage_facts import Cache, Dependency, Facts, Hashes


class Verdict(StrEnum):
    """What will happen to a stage."""

    UNCHANGED = "unchanged"
    RESTORE = "restore"
    RECORD = "record"
    MISSING = "missing"
    RUN = "run"
    MAY_RUN = "may run"


@dataclass(frozen=True)
class Decision:
    """What will happen to one stage, why, and the hashes of its outputs afterwards where they can be told."""

    stage: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    outputs: Hashes | None = None


def plan(facts: Sequence[Facts], cache: Cache, *, force: bool = False, fixed: Collection[str] = ()) -> list[Decision]:
    """A decision for each of `facts`, which come in the order of the graph.

    Args:
        facts: one a stage, each after those of the stages it waits for.
        cache: answers which outputs are at hand for which inputs.
        force: run every stage that can run.
        fixed: names of stages whose outputs are the same each time they succeed.
    """
    decided: dict[str, Decision] = {}
    for stage in facts:
        decision = _decide(stage, decided, cache, force)
        if decision.outputs is None and decision.stage in fixed and len(stage.recorded) == len(stage.stage.outputs):
            decision = replace(decision, outputs=stage.recorded)
        decided[stage.stage.name] = decision
    return list(decided.values())


def _decide(facts: Facts, decided: Mapping[str, Decision], cache: Cache, force: bool) -> Decision:
    name = facts.stage.name
    if facts.tracked:
        return _decide_tracked(facts, cache)
    if force or facts.always:
        return Decision(name, Verdict.RUN, _words([*([FORCED] if force else []), *facts.changes]))
    expected = {dependency: _expected(dependency, decided, cache) for dependency in facts.dependencies}
    unknown = [dependency for dependency, content in expected.items() if content is None]
    if unknown:
        return Decision(name, Verdict.MAY_RUN, (*_words(facts.own), *_givers(unknown, decided)))
    changes = facts.changes_with(expected)
    if not changes:
        return Decision(name, Verdict.UNCHANGED, outputs=facts.recorded)
    held = cache.restorable(name, {item.path: content for item, content in expected.items() if content})
    verdict = Verdict.RUN if held is None else Verdict.RESTORE
    return Decision(name, verdict, _words(changes), held)


def _decide_tracked(facts: Facts, cache: Cache) -> Decision:
    """A stage that never runs: what is missing comes back, where it is at hand; what was edited is recorded anew."""
    name, reasons = facts.stage.name, _words(facts.changes)
    if not reasons:
        return Decision(name, Verdict.UNCHANGED, outputs=facts.recorded)
    missing = {*facts.recorded, *facts.stage.outputs} - set(facts.present)
    if missing and cache.restorable(name, {}) is None:
        return Decision(name, Verdict.MISSING, (*reasons, HOW_TO_GET))
    edited = facts.own or any(facts.recorded.get(path) != content for path, content in facts.present.items())
    verdict = Verdict.RESTORE if missing and not edited else Verdict.RECORD
    return Decision(name, verdict, reasons, {**facts.recorded, **facts.present})


def _expected(dependency: Dependency, decided: Mapping[str, Decision], cache: Cache) -> str | None:
    """Content hash that `dependency` will have when its reader's turn comes; None when nobody can tell yet."""
    makers = [decided[name] for name in dependency.producers if name in decided]
    if all(maker.verdict is Verdict.UNCHANGED for maker in makers):
        return dependency.present
    if any(maker.outputs is None for maker in makers):
        return None
    return cache.composed(
        dependency.path, {path: content for maker in makers for path, content in (maker.outputs or {}).items()}
    )


def _givers(unknown: Sequence[Dependency], decided: Mapping[str, Decision]) -> list[str]:
    givers = dict.fromkeys(
        name
        for dependency in unknown
        for name in dependency.producers
        if name in decided and decided[name].verdict in (Verdict.RUN, Verdict.MAY_RUN, Verdict.MISSING)
    )
    if not givers:
        return ["depends on what is restored"]
    names = [name for name in decided if name in givers]
    return [f"depends on what {one_and_others(names)} {'give' if len(names) > 1 else 'gives'}"]


def _words(changes: Sequence[Change]) -> tuple[str, ...]:
    return tuple(sentence(change) for change in changes)
