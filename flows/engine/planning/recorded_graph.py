"""The graph as dvc.lock has it, whether its outputs lie here or not: what a clone without data can be asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.engine.planning.stage_facts import Cache, Dependency, Facts, Hashes

NOT_HERE = ("deleted", "not in cache")


def as_recorded(facts: Sequence[Facts], cache: Cache) -> list[Facts]:
    """`facts` as they would be if each stage's outputs lay here as dvc.lock names them.

    A plan from them is all `unchanged` just when dvc.lock belongs to the code and parameters that lie here: what a
    stage read is then what the stage before it wrote. A file inside a folder whose list is in no cache here is taken as
    recorded; the folder itself is compared.
    """
    written = {stage.stage.name: stage.recorded for stage in facts}
    return [
        replace(
            stage,
            dependencies=tuple(_with_content(item, written, cache) for item in stage.dependencies),
            outputs=tuple(change for change in stage.outputs if change.state not in NOT_HERE),
        )
        for stage in facts
    ]


def _with_content(item: Dependency, written: Mapping[str, Hashes], cache: Cache) -> Dependency:
    outputs = {path: content for name in item.producers for path, content in written.get(name, {}).items()}
    try:
        return replace(item, present=cache.composed(item.path, outputs) if outputs else item.present)
    except FileNotFoundError:
        return replace(item, present=item.recorded)
