"""The engine's interface to DVC: restores and records the stages of a project.

DVC decides whether a stage is unchanged or can be restored; it hashes, caches and records. The engine runs only the
command of a stage, between `begin` and `record` (or `abandon`), so that it can run stages in parallel, observe and
terminate them. A method holds DVC's lock while it reads or writes DVC's records: `dvc` can work in between.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import networkx as nx
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import PipelineInvalid
from flows.core.project import merge_conflict
from flows.dvc_repo.addresses import engine_stage, frozen_order, stages_at, stages_in_scope
from flows.dvc_repo.cache_lookup import CacheLookup
from flows.dvc_repo.change_detection import StageInspector, active_graph, output_hashes, recorded_hashes
from flows.dvc_repo.code.cosmetic_changes import CosmeticChanges
from flows.dvc_repo.code.recording import Recording, stage_environment
from flows.dvc_repo.concurrency.file_claims import FileClaims
from flows.dvc_repo.concurrency.foreign_records import ForeignRecords
from flows.dvc_repo.concurrency.running_stages import RunningStages
from flows.dvc_repo.damaged_objects import report_damaged_lists
from flows.dvc_repo.dvc_errors import converted_errors, describe_error
from flows.dvc_repo.lineage import lineage_of
from flows.dvc_repo.lock.lockfile import LockfileWriter, load_graph, repair_rwlock
from flows.dvc_repo.locking import RepoLock, RepositoryBusy
from flows.dvc_repo.remote.results import verify_downloads
from flows.dvc_repo.remote.stage_transfer import StageTransfer
from flows.dvc_repo.restoration import Restoration, interrupted_writes, remove_interrupted_writes
from flows.dvc_repo.tracked_data import TrackedData, absent_data
from flows.engine.output_backup import has_backup, has_backups, restore_all, restore_leftover
from flows.engine.planning.change_messages import Change, describe, without_cosmetic
from flows.engine.planning.stage_facts import Facts
from flows.engine.processes.command_runner import terminate_orphans
from flows.engine.types import Command, Lineage, Outcome, Result, Scope, Stage

if TYPE_CHECKING:  # it imports pydantic, which a run without changes saves
    from flows.engine.policy import Policies

for name in ("dvc", "dvc_data", "dvc_objects"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # the engine reports DVC's actions; this hides progress bars too


class Repository:
    """A DVC repository with its graph, opened once for many stages."""

    def __init__(
        self,
        root: Path | str = ".",
        only: Collection[str] | None = None,
        *,
        pull: bool = False,
        policies: "Policies | None" = None,
    ) -> None:
        """Open the repository at `root`.

        Args:
            root: the project's folder, or a folder in it.
            only: names of the stages to use; outputs of other stages are then inputs like any other file.
            pull: restore outputs from the DVC remote too.
            policies: those of execution.yaml, if its section `environment` is compared and recorded.

        Raises:
            PipelineInvalid, PolicyInvalid: dvc.yaml, dvc.lock or environment.lock cannot be used, or a package that
                execution.yaml names does not exist.
        """
        self._pull, self._foreign = pull, ForeignRecords()
        with converted_errors(root):
            try:
                self._repo = Repo(str(root))
                verify_downloads(self._repo)
                report_damaged_lists()
                repair_rwlock(self._repo)
                graph = load_graph(self._repo)
                self._graph: nx.DiGraph[DvcStage] = active_graph(graph)
            except DvcException as error:
                problem = merge_conflict(Path(root)) or f"DVC cannot read the pipeline: {describe_error(error)}"
                raise PipelineInvalid(problem) from error
        if only is not None:
            self._graph.remove_nodes_from([stage for stage in self._graph if stage.addressing not in only])
        self.root = Path(self._repo.root_dir)
        self._order: list[DvcStage] = list(nx.dfs_postorder_nodes(self._graph))
        self._waits_for = frozen_order(graph, self._order)
        self._by_name: dict[str, DvcStage] = {stage.addressing: stage for stage in self._order}
        self._cosmetic = CosmeticChanges(self._repo)
        self._inspector = StageInspector(self._graph, self._cosmetic.find)
        self.policies = policies
        self._environment = stage_environment(self._repo, policies, self._by_name)
        self.cache = CacheLookup(self._repo, self._by_name, self._environment, pull=pull)
        self._lockfile = LockfileWriter(self._repo, self._order, self._foreign.own_write)
        self._recording = Recording(self._repo, self.cache, self._lockfile, self._cosmetic.old, self._environment)
        self._lock, self._claims = RepoLock(self._repo), FileClaims(self._repo)
        parts = (self._lockfile, self._lock, self._claims, self._recording)
        self._running = RunningStages(self._repo, self._order, *parts)
        self._restoration = Restoration(self._repo, self.cache, self._lockfile, self._recording, self._lock, pull=pull)
        self._tracked = TrackedData(self._repo, self._lockfile, self._lock, pull=pull)

    def close(self) -> None:
        """End the run, if there was one, and close DVC's databases."""
        try:
            self._lockfile.finish()
        except Exception as error:  # noqa: BLE001 - git's library has errors of its own; the results are recorded
            self._lock.log(f"git cannot stage DVC's files (core.autostage): {describe_error(error)}; use `git add`")
        self._running.close()
        self._lock.close()
        self._repo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure_waiting(self, log: Callable[[str], None], stop_event: threading.Event) -> None:
        """Log waits for other processes with `log`, and end them when `stop_event` is set."""
        self._lock.log, self._lock.stop_event = log, stop_event

    def stages(
        self, targets: Sequence[str] = (), scope: Scope = Scope.UPSTREAM, *, with_absent: bool = False
    ) -> list[Stage]:
        """Return `targets` (all stages when empty) and those in their `scope`, each after those it depends on.

        All stages are without `absent_data`, unless it is to be pulled or `with_absent` is set.

        Raises:
            UnknownStage: a target is neither a stage, a group of stages (`train`), their file nor an output.
        """
        needed = stages_in_scope(targets, self._graph, self._order, self.root, scope)
        if not (targets or with_absent or self._pull):
            needed -= absent_data(self._graph)
        return [
            engine_stage(stage, self._graph, self._waits_for.get(stage, ())) for stage in self._order if stage in needed
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

    def facts(
        self, targets: Sequence[str] = (), scope: Scope = Scope.UPSTREAM, *, with_absent: bool = False
    ) -> list[Facts]:
        """Return what DVC knows of the stages that `stages` returns for these arguments, in the same order."""
        with self._lock.locked():
            return [self._planned_facts(stage) for stage in self.stages(targets, scope, with_absent=with_absent)]

    def _planned_facts(self, stage: Stage) -> Facts:
        """Return the facts of `stage`; files that another process is writing are not read."""
        dvc_stage = self._by_name[stage.name]
        try:
            self._claims.ensure_not_written(dvc_stage)
        except RepositoryBusy as error:
            return Facts(stage, own=(Change("", str(error)),), recorded=recorded_hashes(dvc_stage))
        return self._facts(stage)

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
            return self._recording.run_key(self._by_name[name])

    def run_keys(self, name: str) -> list[str]:
        """Return the run-cache key of stage `name`, and that of its code with the recorded comments."""
        with self._lock.locked():
            stage = self._by_name[name]
            facts = self._inspector.facts(stage, *self.stages([name], Scope.SINGLE))
            return self._recording.run_keys(stage, facts.cosmetic)

    def metrics(self, files: Sequence[str] = ()) -> dict[str, Any]:
        """Return the content of the workspace's metrics files, or of the given `files`, by path."""
        with self._lock.locked():
            found = self._repo.metrics.show(targets=list(files)).get("", {}).get("data", {})
        return {name: entry["data"] for name, entry in found.items() if "data" in entry}

    def begin(self, name: str) -> Command | None:
        """Start stage `name`: take a snapshot of its inputs, back up its outputs, and return its command.

        Returns:
            None if another process uses its files, or has recorded it since `try_restore`, which is to be asked again.

        Raises:
            Interrupted: the run was interrupted while another process was waited for.
        """
        return self._lock.run(name, lambda: self._begin(self._by_name[name]))

    def record(self, name: str) -> None:
        """Finish stage `name`: hash and cache its outputs, and record it in the run cache and in dvc.lock.

        Raises:
            InputsChanged: an input has changed since `begin`; nothing is recorded.
        """
        self._lock.run(name, lambda: self._running.record(self._by_name[name]))

    def lineage(self, name: str) -> Lineage:
        """Return the contents of the outputs and dependencies of stage `name`, which this run recorded."""
        return lineage_of(self._by_name[name])

    def abandon(self, name: str) -> None:
        """Undo `begin` for stage `name`, which failed or was interrupted: restore its earlier outputs."""
        self._running.abandon(self._by_name[name])

    def expect(self, names: Sequence[str]) -> None:
        """Prepare a run in which the stages `names` may be recorded: new ones get the graph's order in dvc.lock."""
        stages = [self._by_name[name] for name in names]
        if has_backups(self.root) or interrupted_writes(stages):
            with self._lock.locked():
                restore_all(self.root)
                remove_interrupted_writes(stages)
        self._lockfile.expect(stages)

    def _facts(self, stage: Stage) -> Facts:
        facts = self._inspector.facts(self._by_name[stage.name], stage)
        if self._environment is None or facts.tracked:
            return facts
        return replace(facts, differences=self._environment.differences(stage.name, facts.recorded))

    def _try_restore(self, stage: Stage, force: bool) -> Result | tuple[str, ...]:
        dvc_stage, name = self._by_name[stage.name], stage.name
        self._claims.ensure_not_written(dvc_stage)
        self._restore_leftover(name)
        self._foreign.take_over(dvc_stage)
        facts = self._facts(stage)
        changes = facts.changes
        effective = without_cosmetic(changes)
        reasons = tuple(map(describe, effective or changes))
        if not changes and (facts.tracked or not force):
            return Result(name, Outcome.UNCHANGED)
        if facts.tracked:
            return Result(name, self._tracked.update(dvc_stage, name, is_renewed=facts.renewed), reasons)
        self._claims.ensure_unused(dvc_stage)
        if force:
            return tuple(map(describe, effective))
        if not effective:
            is_recorded = self._recording.record_unchanged(dvc_stage, facts.cosmetic)
            return Result(name, Outcome.UNCHANGED, reasons) if is_recorded else self._try_restore(stage, force)
        if facts.cosmetic:
            self._recording.add_run_cache_entry(dvc_stage, facts.cosmetic)
        if not facts.always and self._restoration.restore(dvc_stage):
            changes = facts.changes_when_restored(effective, output_hashes(dvc_stage))
            return Result(name, Outcome.RESTORED, tuple(map(describe, changes)))
        return reasons

    def _restore_leftover(self, name: str) -> None:
        """Restore the outputs of stage `name` from the backup that a killed run left."""
        if has_backup(self.root, name):
            terminate_orphans(self.root)
            if not restore_leftover(self.root, name):
                raise RepositoryBusy("another process in this folder is running it")

    def _begin(self, stage: DvcStage) -> Command | None:
        if self._foreign.take_over(stage):
            return None
        try:
            return self._running.begin(stage)
        except LockError as error:
            try:
                self._claims.ensure_unused(stage)
            except RepositoryBusy:
                return None  # `try_restore` waits for the other process
            raise RepositoryBusy(describe_error(error)) from error  # DVC alone finds it: `begin` waits, and says so
