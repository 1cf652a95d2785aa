"""When to import ahead what stages compute with: as soon as one of them is known to run, or one that they wait for."""

from collections.abc import Callable, Sequence

from flows.model import Stage
from flows.policy import Policies, StagePolicy


class Preloads:
    """The stages of one run that may still want something imported; calls come from many threads.

    What only a stage that starts at this moment wants is not worth a process: it imports that itself.
    """

    def __init__(self, stages: Sequence[Stage], policies: Policies, prepare: Callable[[StagePolicy], None]) -> None:
        self._prepare = prepare
        wants = {stage.name: policies.of(stage.name) for stage in stages}
        self._wants = {name: policy for name, policy in wants.items() if policy.preload and policy.pool is None}
        self._upstream = {stage.name: stage.upstream for stage in stages}

    def starts(self, name: str) -> None:
        """Stage `name` is about to run: import what others want that wait for it, or that want the same."""
        own = self._wants.get(name)
        for other, policy in list(self._wants.items()):
            same = own is not None and (own.preload, own.slots) == (policy.preload, policy.slots)
            if other != name and (same or self._waits_for(other, name)):
                self._prepare(policy)

    def ended(self, name: str) -> None:
        """Stage `name` wants nothing any more."""
        self._wants.pop(name, None)

    def _waits_for(self, name: str, above: str) -> bool:
        """Whether stage `name` stands somewhere below stage `above`."""
        waiting, seen = [name], set()
        while waiting:
            here = waiting.pop()
            if here == above:
                return True
            if here not in seen:
                seen.add(here)
                waiting += self._upstream.get(here, ())
        return False
