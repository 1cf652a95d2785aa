"""When to import ahead what stages compute with: as soon as one of them is known to run, or one that they wait for."""

from collections.abc import Callable, Mapping, Sequence

import networkx as nx

from flows.engine.policy import StagePolicy
from flows.engine.types import Stage


class PreloadScheduler:
    """The stages of one run that may still want something imported; calls come from many threads.

    What only a stage that starts at this moment wants is not worth a process: it imports that itself.
    """

    def __init__(
        self, stages: Sequence[Stage], policies: Mapping[str, StagePolicy], prepare: Callable[[StagePolicy], None]
    ) -> None:
        self._prepare = prepare
        self._wants = {name: policy for name, policy in policies.items() if policy.preload and policy.pool is None}
        self._graph = nx.DiGraph((above, stage.name) for stage in stages for above in stage.upstream)
        self._graph.add_nodes_from(stage.name for stage in stages)

    def starts(self, name: str) -> None:
        """Stage `name` is about to run: import what others want that wait for it, or that want the same."""
        own, waiting = self._wants.get(name), nx.descendants(self._graph, name)
        for other, policy in list(self._wants.items()):
            same = own is not None and (own.preload, own.slots) == (policy.preload, policy.slots)
            if other != name and (same or other in waiting):
                self._prepare(policy)

    def ended(self, name: str) -> None:
        """Stage `name` wants nothing any more."""
        self._wants.pop(name, None)
