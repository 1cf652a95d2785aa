"""Decides when to import ahead the modules that stages need."""

from collections.abc import Callable, Mapping, Sequence

import networkx as nx

from flows.engine.policy import StagePolicy
from flows.engine.types import Stage


class PreloadScheduler:
    """Requests imports for stages that have not started, as soon as it is certain that a stage runs before them.

    A stage that starts now imports its modules itself: a process for that stage alone would save no time.
    Called from many threads.
    """

    def __init__(
        self, stages: Sequence[Stage], policies: Mapping[str, StagePolicy], preload: Callable[[StagePolicy], None]
    ) -> None:
        """Creates the scheduler of one run.

        Args:
            stages: all stages of the run.
            policies: the policy of each stage, by name.
            preload: called with each policy whose modules are to be imported, more than once for the same modules.
        """
        self._preload = preload
        self._pending = {name: policy for name, policy in policies.items() if policy.preload and policy.pool is None}
        self._graph = nx.DiGraph((upstream, stage.name) for stage in stages for upstream in stage.upstream)
        self._graph.add_nodes_from(stage.name for stage in stages)

    def start(self, name: str) -> None:
        """Stage `name` starts: preloads for the stages that depend on it, and for those that need the same modules."""
        if not self._pending:  # in most projects; to search a large graph for each stage would take long
            return
        own, downstream = self._pending.get(name), nx.descendants(self._graph, name)
        for other, policy in list(self._pending.items()):
            is_same = own is not None and (own.preload, own.slots) == (policy.preload, policy.slots)
            if other != name and (is_same or other in downstream):
                self._preload(policy)

    def finish(self, name: str) -> None:
        """Stage `name` has ended, and needs no modules any more."""
        self._pending.pop(name, None)
