"""The engine's interface to DVC: restores and records the stages of a project.

DVC decides whether a stage is unchanged or can be restored; it hashes, caches and records. The engine runs only the
command of a stage, between `begin` and `record` (or `abandon`), so that it can run stages in parallel, observe and
terminate them. A method that reads or writes DVC's records holds DVC's lock while it does so, and no longer: `dvc` in
another terminal can work meanwhile.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import DvcFailed, InputsChanged, PipelineInvalid
from flows.core.project import merge_conflict
from flows.dvc_repo.addresses import stages_at
from flows.dvc_repo.cache_lookup import CacheLookup
from flows.dvc_repo.change_detection import (
    SavedHashes,
    StageInspector,
    active_graph,
    get_hashes,
    path_of,
    run_key,
    set_hashes,
    temporary_hashes,
    value_of,
)
from flows.dvc_repo.code.cosmetic_changes import CosmeticChanges
from flows.dvc_repo.code.recording import Recording
from flows.dvc_repo.damaged_objects import contents, set_damaged_output_aside
from flows.dvc_repo.dvc_errors import describe_error
from flows.dvc_repo.input_snapshot import Snapshot, compare_snapshots, take_snapshot
from flows.dvc_repo.lockfile import LockfileWriter, load_graph, repair_rwlock
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.remote.results import Remote, verify_downloads
from flows.dvc_repo.remote.stage_transfer import StageTransfer
from flows.dvc_repo.restoration import Restoration
from flows.engine.output_backup import backup_outputs, discard_backup, is_outdated, restore_all, restore_outputs
from flows.engine.planning.change_messages import PULL_HINT, describe, name_some, without_cosmetic
from flows.engine.planning.stage_facts import Facts
from flows.engine.types import Command, Outcome, Result, Scope, Stage
from stages.base.errors import OutputError

for name in ("dvc", "dvc_data", "dvc_objects"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # the engine reports DVC's actions; this hides progress bars too


class Repository:
    """A DVC repository with its graph, opened once for many stages."""

    def __init__(self, root: Path | str = ".", only: Collection[str] | None = None, *, pull: bool = False) -> None:
        """Open the repository at `root`.

        Args:
            root: the project's folder, or a folder in it.
            only: names of the stages to use; outputs of other stages are then inputs like any other file.
            pull: restore outputs from the DVC remote too.
        """
        try:
            self._repo = Repo(str(root))
            verify_downloads(self._repo)
            repair_rwlock(self._repo)
            self._graph: nx.DiGraph[DvcStage] = active_graph(load_graph(self._repo))
        except DvcException as error:
            problem = merge_conflict(Path(root)) or f"DVC cannot read the pipeline: {describe_error(error)}"
            raise PipelineInvalid(problem) from error
        except OSError as error:
            raise OutputError(error.filename or root, error) from error
        if only is not None:
            self._graph.remove_nodes_from([stage for stage in self._graph if stage.addressing not in only])
        self.root = Path(self._repo.root_dir)
        self._order: list[DvcStage] = list(nx.dfs_postorder_nodes(self._graph))
        self._by_name: dict[str, DvcStage] = {stage.addressing: stage for stage in self._order}
        self._cosmetic = CosmeticChanges(self._repo)
        self._inspector = StageInspector(self._graph, self._cosmetic.find)
        self._pull = pull
        self.cache = CacheLookup(self._repo, self._by_name, pull=pull)  # for planning, while no stage runs
        self._lockfile = LockfileWriter(self._repo, self._order)
        self._begun: dict[str, tuple[Snapshot, SavedHashes]] = {}
        self._lock = RepoLock(self._repo)
        self._restoration = Restoration(self._repo, self.cache, self._lockfile, self._lock, pull=pull)
        self._recording = Recording(self._repo, self.cache, self._lockfile, self._cosmetic.old)

    def close(self) -> None:
        """End the run, if there was one, and close DVC's databases."""
        try:
            self._lockfile.finish()
        except Exception as error:  # noqa: BLE001 - git's library has errors of its own; the results are recorded
            self._lock.log(f"git cannot stage DVC's files (core.autostage): {describe_error(error)}; use `git add`")
        self._lock.close()
        self._repo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure_waiting(self, log: Callable[[str], None], stop_event: threading.Event) -> None:
        """Log waits for other processes with `log`, and end them when `stop_event` is set."""
        self._lock.log, self._lock.stop_event = log, stop_event

    def stages(self, targets: Sequence[str] = (), scope: Scope = Scope.UPSTREAM) -> list[Stage]:
        """Return `targets` (all stages when empty) and those in their `scope`, each after those it depends on.

        Raises:
            UnknownStage: a target is neither a stage, a group of stages (`train`), their file nor an output.
        """
        selected = [stage for target in targets for stage in stages_at(target, self._order, self.root)] or self._order
        needed = set(selected)
        if scope is not Scope.SINGLE:
            reached = nx.descendants if scope is Scope.UPSTREAM else nx.ancestors  # edges lead to upstream stages
            needed = needed.union(*(reached(self._graph, stage) for stage in selected))
        return [
            Stage(
                stage.addressing,
                tuple(upstream.addressing for upstream in self._graph.successors(stage)),
                tuple(str(out) for out in stage.outs),
            )
            for stage in self._order
            if stage in needed
        ]

    def resolve(
        self, targets: Sequence[str], folder: Path = Path(), *, glob: bool = False, recursive: bool = False
    ) -> list[str]:
        """Return the names of the stages at the addresses `targets`, given from `folder`; see `stages_at`."""
        found = [
            stage
            for target in targets
            for stage in stages_at(target, self._order, self.root, folder, glob=glob, recursive=recursive)
        ]
        return list(dict.fromkeys(stage.addressing for stage in found))

    @property
    def dvc_stages(self) -> Sequence[DvcStage]:
        """DVC's own stages, each after those it depends on; for the other modules of this room."""
        return self._order

    def facts(self, targets: Sequence[str] = (), scope: Scope = Scope.UPSTREAM) -> list[Facts]:
        """Return what DVC knows of the stages that `stages(targets, scope)` returns, in the same order."""
        with self._lock.locked():
            return [self._inspector.facts(self._by_name[stage.name], stage) for stage in self.stages(targets, scope)]

    def try_restore(self, stage: Stage, *, force: bool = False) -> Result | tuple[str, ...]:
        """Restore the outputs of `stage` from the cache, unless it is unchanged or must run.

        Returns:
            The result if the stage need not run; else the reasons why it must run.
        """
        return self._lock.run(stage.name, lambda: self._try_restore(stage, force))

    def transfer(self, wait_s: float, stop_event: threading.Event) -> StageTransfer:
        """Return the transfer of stages to and from other machines.

        Args:
            wait_s: how long transfers are retried while the remote is unreachable.
            stop_event: ends the retries when it is set.
        """
        return StageTransfer(self._repo, self._graph, self._lock.locked, wait_s, stop_event)

    def run_key(self, name: str) -> str:
        """Return the run-cache key of stage `name`: equal in all clones for equal command, parameters and inputs."""
        with self._lock.locked():
            stage = self._by_name[name]
            with temporary_hashes(stage):
                stage.save_deps()
                return run_key(stage)

    def metrics(self) -> dict[str, Any]:
        """Return the content of the workspace's metrics files, by path."""
        with self._lock.locked():
            files = self._repo.metrics.show().get("", {}).get("data", {})
        return {name: entry["data"] for name, entry in files.items() if "data" in entry}

    def begin(self, name: str) -> Command:
        """Start stage `name`: take a snapshot of its inputs, back up its outputs, and return its command."""
        return self._lock.run(name, lambda: self._begin(name))

    def record(self, name: str) -> None:
        """Finish stage `name`: hash and cache its outputs, and record it in the run cache and in dvc.lock.

        Raises:
            InputsChanged: an input has changed since `begin`; nothing is recorded.
        """
        self._lock.run(name, lambda: self._record(name))

    def abandon(self, name: str) -> None:
        """Undo `begin` for stage `name`, which failed or was interrupted: restore its earlier outputs."""
        if name in self._begun:
            self._lock.run(name, lambda: self._abandon(name), cleanup=True)

    def expect(self, names: Sequence[str]) -> None:
        """Prepare a run in which the stages `names` may be recorded: new ones get the graph's order in dvc.lock."""
        restore_all(self.root)
        self._lockfile.expect([self._by_name[name] for name in names])

    def _try_restore(self, stage: Stage, force: bool) -> Result | tuple[str, ...]:
        dvc_stage, name = self._by_name[stage.name], stage.name
        facts = self._inspector.facts(dvc_stage, stage)
        changes = facts.changes
        effective = without_cosmetic(changes)
        reasons = tuple(map(describe, effective or changes))
        if not changes and (facts.tracked or not force):
            return Result(name, Outcome.UNCHANGED)
        if facts.tracked:
            return Result(name, self._update_tracked(dvc_stage, name, is_renewed=facts.renewed), reasons)
        self._lock.ensure_unused(dvc_stage)
        if force:
            return tuple(map(describe, effective))
        if not effective:
            is_recorded = self._recording.record_unchanged(dvc_stage, facts.cosmetic)
            return Result(name, Outcome.UNCHANGED, reasons) if is_recorded else self._try_restore(stage, force)
        if facts.cosmetic:
            self._recording.add_run_cache_entry(dvc_stage, facts.cosmetic)
        if not facts.always and self._restoration.restore(dvc_stage):
            self._recording.keep_code(dvc_stage)
            return Result(name, Outcome.RESTORED, reasons)
        return reasons

    def _begin(self, name: str) -> Command:
        stage = self._by_name[name]
        recorded = get_hashes(stage)
        stage.save_deps()
        self._begun[name] = take_snapshot(stage), recorded
        backup_outputs(self.root, name, [path_of(out) for out in stage.outs if not out.persist])
        stage.remove_outs()  # makes outputs with `persist` writable
        lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
        environment = {"DVC_STAGE": name, "DVC_ROOT": str(self.root)}
        return Command(name, tuple(lines), str(Path(stage.wdir).resolve()), environment)

    def _record(self, name: str) -> None:
        stage = self._by_name[name]
        with self._lockfile.ordered_gitignore(stage):
            stage.save(run_cache=False)
        (before, _), after = self._begun[name], take_snapshot(stage)  # `after` has the hashes that are recorded
        outputs = [str(out.fs_path) for other in self._order for out in other.outs]
        changed, added = compare_snapshots(before, after, outputs, self.root)
        if changed:
            raise InputsChanged(name, changed)
        if added:
            self._lock.log(
                f"{name}: {name_some(sorted(added))} appeared in its inputs while it ran; recorded with them"
            )
        for out in stage.outs:  # else DVC links the output to a damaged object of the same name
            set_damaged_output_aside(out, contents(out), self._lock.log)
        self._recording.save_run(stage)
        stage.commit()
        self._recording.add_to_lock(stage)
        del self._begun[name]
        discard_backup(self.root, name)

    def _abandon(self, name: str) -> None:
        stage, (_, recorded) = self._by_name[name], self._begun.pop(name)
        if is_outdated(self.root, name):  # another process has recorded the stage: the outputs are its own
            discard_backup(self.root, name)
        else:
            stage.remove_outs()
            restore_outputs(self.root, name)
        set_hashes(stage, recorded)

    def _update_tracked(self, stage: DvcStage, name: str, *, is_renewed: bool) -> Outcome:
        """Update a stage that never runs, tracked data or frozen: restore missing outputs, record edited ones.

        `is_renewed` is True for an import whose source has changed: DVC imports it again.
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
            Remote(self._repo, 0.0, self._lock.stop_event).pull(name, [value_of(out.hash_info)], out.remote)
        if out.changed_cache():
            raise DvcFailed(f"{name}: {path_of(out)} is not in the cache; {PULL_HINT}")
        out.checkout()
