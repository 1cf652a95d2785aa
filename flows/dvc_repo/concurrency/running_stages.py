"""The stages whose commands run: what is kept of them from `begin` until their results are recorded or abandoned."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import InputsChanged
from flows.core.git_moves import GitMark, mark
from flows.dvc_repo.change_detection import SavedHashes, get_hashes, is_local, path_of, set_hashes
from flows.dvc_repo.code.recording import Recording
from flows.dvc_repo.concurrency.file_claims import FileClaims
from flows.dvc_repo.concurrency.params_watch import ParamsWatch
from flows.dvc_repo.damaged_objects import contents, set_damaged_output_aside
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
from flows.engine.output_backup import backup_outputs, discard_backup, is_outdated, restore_outputs
from flows.engine.planning.change_messages import name_some
from flows.engine.types import Command


class RunningStage(NamedTuple):
    """A stage that was begun: its inputs with their times, its hashes as recorded before, and what ends with it."""

    inputs: Snapshot
    times: Times  # of the files among the inputs
    git: GitMark | None
    recorded: SavedHashes
    resources: ExitStack  # its files in DVC's `rwlock`, and the lock on its backup


class RunningStages:
    """The running stages of one repository. All methods but `close` are called with DVC's lock held."""

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

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def begin(self, stage: DvcStage) -> Command:
        """List the files of `stage` as in use, take a snapshot of its inputs, back up its outputs."""
        name = stage.addressing
        with ExitStack() as resources:
            self._claims.claim(stage)
            resources.callback(self._claims.release, stage)
            recorded = get_hashes(stage)
            git = mark(self._root)  # before the snapshot: else a checkout between the two would be missed
            stage.save_deps()
            self._running[name] = RunningStage(
                take_snapshot(stage), times_of_inputs(stage), git, recorded, resources.pop_all()
            )
            self._params.add(name, [dep for dep in stage.deps if isinstance(dep, ParamsDependency)])
        paths = [path_of(out) for out in stage.outs if is_local(out) and not out.persist]
        backup_outputs(self._root, name, paths, self._running[name].resources)
        stage.remove_outs()  # makes outputs with `persist` writable
        lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
        environment = {"DVC_STAGE": name, "DVC_ROOT": str(self._root)}
        declared = tuple(path_of(item) for item in (*stage.deps, *stage.outs) if is_local(item))
        return Command(
            name, tuple(lines), str(Path(stage.wdir).resolve()), environment, declared=declared,
            graph_outputs=self._graph_outputs, is_ignored=ignored_by(self._repo),
        )  # fmt: skip

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
        self._params.remove(name)
        self._running.pop(name).resources.close()

    def abandon(self, stage: DvcStage) -> None:
        """Restore the earlier outputs of `stage`."""
        name = stage.addressing
        if is_outdated(self._root, name):  # another process has recorded the stage: the outputs are its own
            discard_backup(self._root, name)
        else:
            stage.remove_outs()
            restore_outputs(self._root, name)
        self._params.remove(name)
        running = self._running.pop(name)
        set_hashes(stage, running.recorded)
        running.resources.close()

    def close(self) -> None:
        """Let go of the stages that were neither recorded nor abandoned: an interrupt while DVC's lock was taken."""
        for running in self._running.values():
            running.resources.close()
        self._running.clear()
        self._params.close()
