"""Updates stages that never run: data that DVC only tracks, and frozen stages."""

from typing import Any

from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import DvcFailed
from flows.dvc_repo.change_detection import path_of
from flows.dvc_repo.damaged_objects import contents, set_damaged_output_aside
from flows.dvc_repo.lock.lockfile import LockfileWriter
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.remote.results import Remote
from flows.engine.planning.change_messages import missing_hint
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
        if not stage.status():
            return Outcome.RESTORED
        stage.reproduce()
        self._lockfile.add(stage)
        return Outcome.RECORDED

    def _checkout(self, out: Any, name: str) -> None:
        """Check out a tracked output; with `pull`, from the remote too."""
        set_damaged_output_aside(out, contents(out), self._lock.log)
        if self._pull and out.hash_info and out.changed_cache():
            Remote(self._repo, 0.0, self._lock.stop_event).fetch_tracked(name)
        if out.changed_cache():
            hint = missing_hint(name, is_recorded=bool(out.hash_info))
            raise DvcFailed(f"{name}: {path_of(out)} is not in the cache; {hint}")
        out.checkout()
