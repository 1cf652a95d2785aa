"""The stages whose commands run: what is kept of them from `begin` until their results are recorded or abandoned."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import InputsChanged
from flows.core.git_moves import GitMark, mark
from flows.dvc_repo.change_detection import (
    SavedHashes,
    get_hashes,
    is_local,
    path_of,
    set_hashes,
    temporary_hashes,
)
from flows.dvc_repo.code.recording import Recording
from flows.dvc_repo.concurrency.file_claims import FileClaims
from flows.dvc_repo.concurrency.params_watch import ParamsWatch
from flows.dvc_repo.damaged_objects import contents, set_damaged_output_aside
from flows.dvc_repo.dvc_errors import describe_error
from flows.dvc_repo.input_snapshot import (
    Snapshot,
    Times,
    compare_snapshots,
    replaced_inputs,
    take_snapshot,
    times_of_inputs,
)
from flows.dvc_repo.lock.lockfile import LockfileWriter
from flows.dvc_repo.locking import RepoLock
from flows.dvc_repo.special_files import check_files, ignored_by
from flows.engine.output_backup import FOLDER, backup_outputs, discard_backup, is_outdated, restore_outputs
from flows.engine.planning.change_messages import name_some
from flows.engine.types import Command


class RunningStage(NamedTuple):
    """A stage that was begun: its inputs with their times, its hashes as recorded before, and what ends with it."""

    inputs: Snapshot
    times: Times  # of the files among the inputs
    git: GitMark | None
    recorded: SavedHashes
    resources: ExitStack  # its files in DVC's `rwlock`, its watched parameters, and the lock on its backup


class RunningStages:
    """The running stages of one repository. `begin` and `record` are called with DVC's lock held."""

    def __init__(
        self,
        repo: Repo,
        order: Sequence[DvcStage],
        lockfile: LockfileWriter,
        lock: RepoLock,
        claims: FileClaims,
        recording: Recording,
    ) -> None:
        self._repo, self._root = repo, Path(repo.root_dir)
        outs = [out for stage in order for out in stage.outs if is_local(out)]
        self._graph_outputs = frozenset(map(path_of, outs))
        self._outputs = [str(out.fs_path) for out in outs]
        self._recording = recording
        self._lockfile = lockfile
        self._lock = lock
        self._claims = claims
        self._running: dict[str, RunningStage] = {}
        self._params = ParamsWatch()

    def begin(self, stage: DvcStage) -> Command:
        """List the files of `stage` as in use, take a snapshot of its inputs, back up its outputs.

        If one of that fails, the outputs are where they were, and nothing is left to be abandoned.
        """
        name = stage.addressing
        with ExitStack() as resources, temporary_hashes(stage) as keep:
            recorded = get_hashes(stage)
            self._claims.claim(stage)
            resources.callback(self._claims.release, stage)
            git = mark(self._root)  # before the snapshot: else a checkout between the two would be missed
            stage.save_deps()
            inputs, times = take_snapshot(stage), times_of_inputs(stage)
            resources.callback(self._params.remove, name)
            self._params.add(name, [dep for dep in stage.deps if isinstance(dep, ParamsDependency)])
            self._set_outputs_aside(stage, resources)
            keep()
            self._running[name] = RunningStage(inputs, times, git, recorded, resources.pop_all())
        lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
        environment = {"DVC_STAGE": name, "DVC_ROOT": str(self._root)}
        declared = tuple(path_of(item) for item in (*stage.deps, *stage.outs) if is_local(item))
        return Command(
            name, tuple(lines), str(Path(stage.wdir).resolve()), environment, declared=declared,
            graph_outputs=self._graph_outputs, is_ignored=ignored_by(self._repo),
        )  # fmt: skip

    def _set_outputs_aside(self, stage: DvcStage, resources: ExitStack) -> None:
        """Back up the outputs that are files of this machine; remove those of other machines, as `dvc repro` does."""
        name = stage.addressing
        try:
            paths = [path_of(out) for out in stage.outs if is_local(out) and not out.persist]
            backup_outputs(self._root, name, paths, resources)
            stage.remove_outs()  # makes outputs with `persist` writable
        except BaseException:
            with self._logged_errors(name):
                restore_outputs(self._root, name)
            raise

    def record(self, stage: DvcStage) -> None:
        """Hash and cache the outputs of `stage`, and record it in the run cache and in dvc.lock.

        Raises:
            InputsChanged: an input has changed since `begin`; nothing is recorded.
            SpecialFile: the stage has made a named pipe, a socket or a device; nothing is recorded.
        """
        name = stage.addressing
        check_files(stage)
        with self._lockfile.ordered_gitignore(stage):
            stage.save(run_cache=False)
        running, after = self._running[name], take_snapshot(stage)  # `after` has the hashes that are recorded
        changed, added = compare_snapshots(running.inputs, after, self._outputs, self._root)
        changed += self._params.changed(name)
        changed += replaced_inputs(stage, running.times, running.git, self._root)
        if changed:
            raise InputsChanged(name, list(dict.fromkeys(changed)))
        if added:
            self._lock.log(
                f"{name}: {name_some(sorted(added))} appeared in its inputs while it ran; recorded with them"
            )
        for out in stage.outs:  # else DVC links the output to a damaged object of the same name
            set_damaged_output_aside(out, contents(out), self._lock.log)
        self._recording.finished(stage)
        discard_backup(self._root, name)
        self._running.pop(name).resources.close()

    def abandon(self, stage: DvcStage) -> None:
        """Restore the earlier outputs of `stage`, if it was begun; acquires DVC's lock. An error is logged.

        In any case the stage no longer counts as running, so that the next attempt or run can restore what is missing.
        """
        name = stage.addressing
        if name not in self._running:
            return
        try:
            with self._logged_errors(name):
                self._lock.run(name, lambda: self._restore(stage), cleanup=True)
        finally:
            running = self._running.pop(name)
            set_hashes(stage, running.recorded)
            running.resources.close()

    def _restore(self, stage: DvcStage) -> None:
        name = stage.addressing
        if is_outdated(self._root, name):  # another process has recorded the stage: the outputs are its own
            discard_backup(self._root, name)
            return
        try:
            stage.remove_outs()
        finally:
            restore_outputs(self._root, name)

    @contextmanager
    def _logged_errors(self, name: str) -> Iterator[None]:
        """Log the error of a clean-up after an error of stage `name`, which is the one to report."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            self._lock.log(
                f"{name}: its outputs could not be cleaned up: {describe_error(error)}; earlier ones that are missing "
                f"are in {FOLDER}, and the next run restores them"
            )

    def close(self) -> None:
        """Let go of the stages that were neither recorded nor abandoned: an interrupt while DVC's lock was taken."""
        for running in self._running.values():
            running.resources.close()
        self._running.clear()
        self._params.close()
