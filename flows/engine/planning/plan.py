"""Plans a run: decides for each stage whether it would run, be restored or stay, and why. A pure function of facts.

Each decision passes the expected hashes of its outputs on to the stages downstream:

    download ── unchanged
    └─ prepare ── run: prepare.crop none → {top, bottom, left, right}
       └─ train@cnn ── may run: depends on the outputs of prepare
          └─ report ── may run: depends on the outputs of train@cnn
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from flows.engine.planning.change_messages import FORCED, NEVER_RUN, describe, missing_hint, without_cosmetic
from flows.engine.planning.stage_facts import Cache, Dependency, Facts, Hashes


class Verdict(StrEnum):
    """What a run would do with a stage."""

    UNCHANGED = "unchanged"
    RESTORE = "restore"
    RECORD = "record"
    MISSING = "missing"
    RUN = "run"
    MAY_RUN = "may run"


@dataclass(frozen=True)
class Decision:
    """The plan for one stage.

    Attributes:
        stage: name of the stage.
        verdict: what a run would do.
        reasons: why it would not leave the stage unchanged; of an unchanged stage, why dvc.lock has to be written.
        outputs: hashes of the outputs after the run; None if they are unknown.
    """

    stage: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    outputs: Hashes | None = None

    @property
    def is_work(self) -> bool:
        """True if a run would do something: with comments changed, it records the new hash."""
        return self.verdict is not Verdict.UNCHANGED or bool(self.reasons)


def plan(facts: Sequence[Facts], cache: Cache, *, force: bool = False, fixed: Collection[str] = ()) -> list[Decision]:
    """Returns a decision for each stage.

    Args:
        facts: the facts about the stages, each after those about its upstream stages.
        cache: the cache from which stages can be restored.
        force: run every stage that can run.
        fixed: names of the stages that give the same outputs each time they succeed.
    """
    decisions: dict[str, Decision] = {}
    for stage in facts:
        decision = _decide(stage, decisions, cache, force)
        if decision.outputs is None and decision.stage in fixed and len(stage.recorded) == len(stage.stage.outputs):
            decision = replace(decision, outputs=stage.recorded)
        decisions[decision.stage] = decision
    return list(decisions.values())


def _decide(facts: Facts, decisions: Mapping[str, Decision], cache: Cache, force: bool) -> Decision:
    name = facts.stage.name
    if facts.tracked:
        return _decide_tracked(facts, cache)
    if force or facts.always:
        forced = [FORCED] if force else []
        return Decision(name, Verdict.RUN, tuple(map(describe, [*forced, *without_cosmetic(facts.changes)])))
    expected = {dependency: _expected_hash(dependency, decisions, cache) for dependency in facts.dependencies}
    unknown = [dependency for dependency, content in expected.items() if content is None]
    if unknown:
        own = map(describe, without_cosmetic(facts.own))
        return Decision(name, Verdict.MAY_RUN, (*own, _describe_unknown(unknown, decisions)))
    changes = facts.changes_with(expected)
    effective = without_cosmetic(changes)
    if not effective:
        return Decision(name, Verdict.UNCHANGED, tuple(map(describe, changes)), facts.recorded)
    contents = {item.key: content for item, content in expected.items() if content}
    outputs = cache.restorable(name, contents)
    if outputs is None and facts.cosmetic:
        outputs = cache.restorable(name, contents | {item.path: item.recorded for item in facts.cosmetic})
    if outputs is None:
        return Decision(name, Verdict.RUN, tuple(map(describe, effective)))
    effective = facts.changes_when_restored(effective, outputs)
    return Decision(name, Verdict.RESTORE, tuple(map(describe, effective)), outputs)


def _decide_tracked(facts: Facts, cache: Cache) -> Decision:
    """Decides for a stage that never runs: missing outputs are restored if possible, edited ones are recorded."""
    name, reasons = facts.stage.name, tuple(map(describe, facts.changes))
    if not reasons:
        return Decision(name, Verdict.UNCHANGED, outputs=facts.recorded)
    if facts.renewed:
        return Decision(name, Verdict.RECORD, reasons)
    missing = {*facts.recorded, *facts.stage.outputs} - set(facts.present)
    if missing and cache.restorable(name, {}) is None:
        uncached = next(iter(sorted(missing))) if missing <= set(facts.uncached) else ""
        hint = missing_hint(name, is_recorded=NEVER_RUN not in facts.own, uncached=uncached)
        return Decision(name, Verdict.MISSING, (*reasons, hint))
    edited = facts.own or any(facts.recorded.get(path) != content for path, content in facts.present.items())
    verdict = Verdict.RESTORE if missing and not edited else Verdict.RECORD
    return Decision(name, verdict, reasons, {**facts.recorded, **facts.present})


def _expected_hash(dependency: Dependency, decisions: Mapping[str, Decision], cache: Cache) -> str | None:
    """Returns the hash that `dependency` will have when its reader is due; None if it is not known yet."""
    producers = [decisions[name] for name in dependency.producers if name in decisions]
    if all(producer.verdict is Verdict.UNCHANGED for producer in producers):
        return dependency.present
    outputs: dict[str, str] = {}
    for producer in producers:
        if producer.outputs is None:
            return None
        outputs |= producer.outputs
    try:
        return dependency.content(cache, outputs)
    except FileNotFoundError:
        return None


def _describe_unknown(unknown: Sequence[Dependency], decisions: Mapping[str, Decision]) -> str:
    """Returns why the content of these dependencies is unknown; of many stages it names the nearest one."""
    producers = {name for dependency in unknown for name in dependency.producers}
    names = [name for name, decision in decisions.items() if name in producers and decision.outputs is None]
    if not names:
        return "depends on restored outputs"
    nearest = " and ".join(names) if len(names) <= 2 else f"{names[-1]} and {len(names) - 1} others"
    return f"depends on the outputs of {nearest}"
