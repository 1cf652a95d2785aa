"""The graph as dvc.lock records it, independent of the workspace: lets a clone without data check its dvc.lock."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.engine.planning.stage_facts import Cache, Dependency, Facts, Hashes

MISSING_STATES = ("deleted", "not in cache")


def as_recorded(facts: Sequence[Facts], cache: Cache) -> list[Facts]:
    """Returns `facts` as if the outputs of all stages were present as dvc.lock records them.

    A plan from the returned facts is `unchanged` for all stages exactly when dvc.lock matches the present code and
    parameters: each stage has read what the stages before it wrote. A file in a folder whose list is in no local cache
    counts as recorded; the folder itself is compared. The environment does not count.
    """
    written = {stage.stage.name: stage.recorded for stage in facts}
    return [
        replace(
            stage,
            dependencies=tuple(_with_recorded_content(item, written, cache) for item in stage.dependencies),
            outputs=tuple(change for change in stage.outputs if change.state not in MISSING_STATES),
            differences=(),
        )
        for stage in facts
    ]


def _with_recorded_content(item: Dependency, written: Mapping[str, Hashes], cache: Cache) -> Dependency:
    outputs = {path: content for name in item.producers for path, content in written.get(name, {}).items()}
    try:
        present = item.content(cache, outputs) if outputs else item.present
    except FileNotFoundError:
        present = item.recorded
    if present is None and item.parameters is not None:
        present = item.recorded  # dvc.lock has the values, and the hash of a file that is in no local cache
    return replace(item, present=present)
