"""Updates stages that never run: data that DVC only tracks, and frozen stages."""

from typing import Any

import networkx as nx
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import DvcFailed
from flows.core.notices import note_once
from flows.dvc_repo.change_detection import output_hashes, path_of, value_of
from flows.dvc_repo.damaged_objects import contents, find_damaged, set_damaged_output_aside
from flows.dvc_repo.lock.lockfile import LockfileWriter
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.remote.results import Remote
from flows.engine.planning.change_messages import PULL_HINT, missing_hint
from flows.engine.types import Outcome


class TrackedData:
    """Updates tracked data under DVC's lock, which the caller holds."""

    def __init__(self, repo: Repo, lockfile: LockfileWriter, lock: RepoLock, *, pull: bool = False) -> None:
        self._repo = repo
        self._lockfile = lockfile
        self._lock = lock
        self._pull = pull

    def update(self, stage: DvcStage, name: str, *, is_renewed: bool) -> Outcome:
        """Update a stage that never runs, tracked data or frozen: restore missing outputs, record edited ones.

        `is_renewed` is True for an import that DVC brings from its source.
        """
        for out in stage.outs:
            if not out.exists and not is_renewed:  # edited outputs must not be overwritten
                self._checkout(out, name)
        is_kept = stage.is_import and not (stage.frozen or is_renewed)  # its source too, whatever `dvc update` offers
        if not (any(out.status() for out in stage.outs) if is_kept else stage.status()):
            return Outcome.RESTORED
        recorded = output_hashes(stage)
        stage.reproduce()
        self._lockfile.add(stage)
        is_replaced = is_kept and output_hashes(stage) == recorded
        return Outcome.RESTORED if is_replaced else Outcome.RECORDED  # an edited copy of an import is replaced

    def _checkout(self, out: Any, name: str) -> None:
        """Check out a tracked output; with `pull`, from the remote too."""
        set_damaged_output_aside(out, contents(out), self._lock.log)
        if self._pull and out.hash_info and out.changed_cache():
            Remote(self._repo, 0.0, self._lock.stop_event).fetch_tracked(name)
        if out.changed_cache():
            path, is_kept = path_of(out), out.use_cache
            hint = missing_hint(name, is_recorded=bool(out.hash_info), uncached="" if is_kept else path)
            raise DvcFailed(f"{name}: {path} is {'not in the cache' if is_kept else 'missing'}; {hint}")
        out.checkout()


def absent_data(graph: "nx.DiGraph[DvcStage]") -> set[DvcStage]:
    """Return the tracked data that no stage reads, and that are neither in the workspace nor in the cache; note them.

    `dvc repro` does not look at such data either. Imports that a run brings from their source are not among them.
    """
    absent = set()
    for stage in [stage for stage in graph if stage.cmd is None and not graph.in_degree(stage)]:
        is_brought = stage.is_import and (not stage.frozen or stage.is_partial_import)
        missing = [] if is_brought else [path_of(out) for out in stage.outs if _is_absent(out)]
        if missing:
            absent.add(stage)
            note_once(
                f"{stage.addressing} is left out: {missing[0]} is neither in the workspace nor in the cache, and no "
                f"stage reads it; {PULL_HINT}"
            )
    return absent


def _is_absent(out: Any) -> bool:
    """True for an output that neither the workspace nor, undamaged, the cache has."""
    return not out.exists and (out.changed_cache() or bool(find_damaged(out.local_cache, [value_of(out.hash_info)])))
