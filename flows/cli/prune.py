"""`inkflow prune`: removes the files of old runs, and keeps every file that a version of the project needs."""

import argparse
import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from flows.cli.arguments import DEFAULT_AGE, UNIT_BYTES, age
from flows.cli.output import print_json
from flows.core.file_lock import open_lock_file, run_lock
from flows.core.git import git_text, is_in_repository, pack_objects
from flows.core.project import CLONES
from flows.core.redaction import say
from flows.core.values import counted
from flows.dvc_repo.recovery import end_leftovers
from flows.dvc_repo.run_cache_gc import Cache, RunCacheEntry, locked_cache, referenced_hashes
from flows.dvc_repo.versions.experiments import remove_clones
from flows.dvc_repo.versions.unfinished_work import FOLDERS
from flows.engine.output_backup import restore_all
from flows.engine.shared_slots import SHARING
from flows.prefect_server.old_runs import PrunedFlowRuns, prune_flow_runs
from flows.registry.model_files import files_without_stage
from stages.base.errors import EXIT_DONE, InvalidInput
from stages.base.files import is_folder

LEFTOVERS = (*FOLDERS, Path(".inkflow/up/storage"), SHARING)


@dataclass(frozen=True)
class Selection:
    """Run-cache entries and objects to remove, and the size of the cache in bytes before and after it."""

    entries: tuple[RunCacheEntry, ...]
    objects: tuple[Path, ...]
    before: int
    after: int


@dataclass(frozen=True)
class PruneResult:
    """What was removed, or would be with `--dry-run`; `--json` prints it."""

    dry_run: bool
    run_cache_entries: int
    cache_objects: int
    cache_bytes: int
    cache_bytes_left: int
    left_files: int
    left_bytes: int
    git_repositories: tuple[str, ...]  # in which `git gc --auto` ran, or would
    flow_runs: int
    prefect_note: str | None  # why more of Prefect's records could not be removed


def prune(arguments: argparse.Namespace) -> int:
    """Removes old files, then the oldest until the cache is small enough, and returns the exit code.

    Raises:
        InvalidInput: a folder of --also-for is no DVC project, other projects may use the cache, or git cannot list
            what is needed; nothing was removed.
        RegistryFailed: the tags of the registry cannot be read; nothing was removed.
    """
    root = Path().resolve()
    max_age: timedelta | None = arguments.older_than
    if max_age is None and arguments.keep_size is None:
        max_age = age(DEFAULT_AGE)
    log: Callable[[str], None] = (lambda _: None) if arguments.json else say
    projects = _projects(root, arguments.also_for)
    with ExitStack() as locks:
        run_folders = _run_folders(projects)
        for folder in run_folders:  # no branch names the outputs of a running stage yet
            locks.enter_context(run_lock(folder, log))
        if not arguments.dry_run:
            _clean_up(root, run_folders)
        # Before anything is removed: damaged tags are an error.
        unused_models = [] if max_age is None else files_without_stage(root)
        with locked_cache(root) as cache:
            _check_sharing(cache, root, arguments.also_for)
            needed_hashes = frozenset().union(*map(referenced_hashes, projects))
            selection = select(cache, cache.with_folder_files(needed_hashes), max_age, arguments.keep_size)
            if not arguments.dry_run:  # entries first: an entry without its objects would be incomplete
                cache.remove([*(entry.path for entry in selection.entries), *selection.objects])
                restore_all(root)  # here, since DVC's lock is held: `recover` would wait for it, with all run locks
            temporary = cache.temporary_files()
        found = [path for folder in LEFTOVERS for path in (root / folder).rglob("*")]
        leftovers = _old([*temporary, *unused_models, *found], max_age)
        repositories = [project for project in projects if is_in_repository(project)]
        leftover_bytes = sum(path.stat().st_size for path in leftovers)
        if not arguments.dry_run:
            for path in leftovers:
                _remove(path)
            for project in repositories:
                pack_objects(project)
    records = PrunedFlowRuns(0, None) if max_age is None else prune_flow_runs(root, max_age, arguments.dry_run, log)
    result = PruneResult(
        arguments.dry_run, len(selection.entries), len(selection.objects), selection.before - selection.after,
        selection.after, len(leftovers), leftover_bytes, tuple(map(str, repositories)),
        records.flow_runs, records.note,
    )  # fmt: skip
    if arguments.json:
        print_json(asdict(result))
    else:
        say(_summary(result))
    return EXIT_DONE


def _clean_up(root: Path, locked: Sequence[Path]) -> None:
    """Removes what killed runs left in the project and in the folder of its clones, if its run lock is held.

    Their backups are restored later.
    """
    end_leftovers(root)
    if root / CLONES in locked and is_in_repository(root):  # else a sweep may have made the folder just now
        remove_clones(root, git_text(["rev-parse", "--show-prefix"], root))


def _projects(root: Path, others: Sequence[Path]) -> list[Path]:
    """Returns the folders of all projects whose files are kept."""
    for folder in others:
        if not is_folder(folder / ".dvc"):
            what = "has no .dvc" if is_folder(folder) else "is no folder"
            raise InvalidInput(f"--also-for: {folder} {what}; expected the folder of a project with the same cache")
    return sorted({root, *(folder.resolve() for folder in others)})


def _run_folders(projects: Sequence[Path]) -> list[Path]:
    """Returns the folders in which a run can use the cache: the projects, and the folders of their sweeps' clones."""
    folders = [folder for project in projects for folder in (project, project / CLONES)]
    return [folder for folder in folders if folder.is_dir()]


def select(cache: Cache, keep: frozenset[str], max_age: timedelta | None, keep_size: int | None) -> Selection:
    """Selects the entries to remove, oldest first: those above `max_age`, then more while the cache is too large.

    Args:
        cache: the cache, which is not changed.
        keep: hashes of objects to keep. An entry whose outputs are all among them is kept too: it takes no space.
        max_age: None for no limit of age.
        keep_size: the size to reach in bytes; None for no limit of size.
    """
    entries = cache.entries()
    users = Counter(name for entry in entries for name in entry.outputs)
    latest = None if max_age is None else time.time() - max_age.total_seconds()
    before = after = cache.size()
    selected: list[RunCacheEntry] = []
    objects: list[Path] = []
    for entry in entries:
        if entry.outputs and entry.outputs <= keep:
            continue
        is_old = latest is not None and entry.mtime <= latest
        if not is_old and (keep_size is None or after <= keep_size):
            continue
        users.subtract(entry.outputs)
        freed = [path for name in entry.outputs - keep if not users[name] for path in cache.files(name)]
        after -= sum(path.stat().st_size for path in [entry.path, *freed])
        selected.append(entry)
        objects += freed
    return Selection(tuple(selected), tuple(objects), before, after)


def _check_sharing(cache: Cache, root: Path, others: Sequence[Path]) -> None:
    if not others and not cache.folder.resolve().is_relative_to(root):
        raise InvalidInput(
            f"the cache {cache.folder} is outside of this project, so other projects may use it; name each of them "
            "with --also-for PATH, or pass `--also-for .` if there is none"
        )


def _old(paths: Iterable[Path], max_age: timedelta | None) -> list[Path]:
    """Returns the files among `paths` that are older than `max_age`; none if it is None."""
    if max_age is None:
        return []
    latest = time.time() - max_age.total_seconds()
    return [path for path in paths if path.is_file() and path.stat().st_mtime <= latest and not _is_held(path)]


def _is_held(path: Path) -> bool:
    """Returns True for a lock file that a process holds: a stage may run for longer than any age."""
    return path.parent.name == SHARING.name and not _with_lock(path, lambda: None)


def _remove(path: Path) -> None:
    """Removes a file; a lock file only if no process has taken it meanwhile."""
    if path.parent.name == SHARING.name:
        _with_lock(path, lambda: path.unlink(missing_ok=True))
    else:
        path.unlink(missing_ok=True)


def _with_lock(path: Path, act: Callable[[], None]) -> bool:
    """Calls `act` with a lock on the file `path`, and returns True; False if another process holds it."""
    with suppress(OSError), os.fdopen(open_lock_file(path), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        act()
        return True
    return False


def _summary(result: PruneResult) -> str:
    removed, ran = ("would be removed", "would run") if result.dry_run else ("removed", "ran")
    flow_runs = "; ".join(filter(None, (f"{counted(result.flow_runs, 'flow run')} {removed}", result.prefect_note)))
    packed = [f"Git: `git gc --auto` {ran} in {folder}" for folder in result.git_repositories]
    return "\n".join([
        f"run cache: {counted(result.run_cache_entries, 'entry', 'entries')} with "
        f"{counted(result.cache_objects, 'object')} {removed}, "
        f"{_format_bytes(result.cache_bytes)}; {_format_bytes(result.cache_bytes_left)} left",
        "checkpoints, unfinished downloads, files of model versions without a stage, results, lock files of ended "
        f"runs: {counted(result.left_files, 'file')} {removed}, {_format_bytes(result.left_bytes)}",
        *packed,
        f"Prefect: {flow_runs}",
    ])  # fmt: skip


def _format_bytes(count: int) -> str:
    unit = next((unit for unit, value in reversed(UNIT_BYTES.items()) if count >= value), "")
    return f"{count / UNIT_BYTES[unit]:.3g} {unit}B"
