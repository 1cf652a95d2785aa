"""Snapshots of a stage's inputs: taken when the stage starts, and compared when it ends."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from dvc.dependency import ParamsDependency
from dvc.stage import Stage as DvcStage
from dvc_data.hashfile.tree import Tree

from flows.core.errors import GitFailed
from flows.core.git import run_git
from flows.core.git_moves import GitMark, files_replaced
from flows.core.values import is_same_value
from flows.dvc_repo.change_detection import value_of
from flows.engine.processes.files_in_use import overlap

Snapshot = dict[tuple[type, str], Any]  # by type and name: a folder may have the name of a parameter
Times = dict[tuple[str, str], int]
BY_PRODUCT_FOLDERS = {"__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
# Lock and journal files of programs that read the folder, caches of Python, and what editors and file systems leave.
BY_PRODUCT_FILES = (
    "*.pyc", "*.lock", "*.lck", ".~lock.*", "*-journal", "*-wal", "*-shm", ".*.sw?", "*~", ".DS_Store", ".nfs*",
)  # fmt: skip


class Changes(NamedTuple):
    """What differs between two snapshots: names of inputs with other content, and files that are new in a folder."""

    changed: list[str]
    added: list[str]


def name_of_parameter(dep: ParamsDependency, key: str) -> str:
    """Return a parameter's name in messages: with its file, unless that is params.yaml."""
    return key if str(dep) == ParamsDependency.DEFAULT_PARAMS_FILE else f"{dep}:{key}"


def take_snapshot(stage: DvcStage) -> Snapshot:
    """Return the hash of each input file, the list of files of each folder, and the value of each parameter."""
    snapshot: Snapshot = {}
    for dep in stage.deps:
        value = dep.hash_info.value
        if isinstance(value, dict):
            snapshot |= {(type(dep), name_of_parameter(dep, key)): content for key, content in value.items()}
            continue
        tree = getattr(dep, "obj", None)
        snapshot[type(dep), str(dep)] = tree if isinstance(tree, Tree) else value
    return snapshot


def compare_snapshots(before: Snapshot, after: Snapshot, outputs: Collection[str], root: Path) -> Changes:
    """Return the differences between two snapshots.

    In a folder these do not count: by-products of programs that only read it, such as `__pycache__`, and files that git
    ignores. DVC's hash covers both, unless `.dvcignore` lists them.

    Args:
        before: the earlier snapshot.
        after: the later snapshot.
        outputs: absolute paths of the outputs of all stages. They count although git ignores them.
        root: the project's folder.
    """
    changed, added = [], []
    for key in dict.fromkeys([*before, *after]):
        old, new, (_, name) = before.get(key), after.get(key), key
        if not (isinstance(old, Tree) and isinstance(new, Tree)):
            changed += [] if is_same_value(old, new) else [name]
        elif old.hash_info != new.hash_info:
            old_files, new_files = _files(old), _files(new)
            names = _without_ignored(Path(name), _different(old_files, new_files), outputs, root)
            changed += [name] if any(file in old_files for file in names) else []
            added += [f"{name}/{file}" for file in names if file not in old_files]
    return Changes(changed, added)


def times_of_inputs(stage: DvcStage) -> Times:
    """Return the time of the last change of each file of the stage's dependencies, in ns, by dependency and file.

    A file with parameters has none: another of its values may be edited meanwhile.
    """
    times: Times = {}
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency) or dep.protocol != "local":
            continue
        tree = getattr(dep, "obj", None)
        files = ["/".join(key) for key, _, _ in tree] if isinstance(tree, Tree) else [""]
        for file in files:
            with suppress(OSError):
                times[str(dep), file] = Path(dep.fs_path, file).stat().st_mtime_ns
    return times


def replaced_inputs(stage: DvcStage, before: Times, since: GitMark | None, root: Path) -> list[str]:
    """Return the dependencies with a file that git replaced meanwhile, whatever its content; by-products do not count.

    After a checkout of another commit and back a file has its hash again, though the stage may have read the other
    content. Any other file that was written counts by its content alone: the stage may write its inputs itself.

    Args:
        stage: the stage.
        before: the times of its inputs when it started.
        since: the mark of git's logs from then.
        root: the project's folder.
    """
    names = dict.fromkeys(name for name, _ in before)
    replaced = files_replaced(since, [Path(name).absolute() for name in names], root)
    if not replaced:
        return []
    after = times_of_inputs(stage)
    written = [key for key, time in before.items() if after.get(key, time) != time and not _is_by_product(key[1])]
    return list(dict.fromkeys(name for name, file in written if Path(name, file).absolute() in replaced))


def _files(tree: Tree) -> dict[str, str]:
    return {"/".join(key): value_of(hash_info) for key, _, hash_info in tree}


def _different(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [file for file in {**old, **new} if old.get(file) != new.get(file) and not _is_by_product(file)]


def _is_by_product(file: str) -> bool:
    *folders, name = file.split("/")
    is_in_folder = not BY_PRODUCT_FOLDERS.isdisjoint(folders)
    return is_in_folder or any(fnmatchcase(name, pattern) for pattern in BY_PRODUCT_FILES)


def _without_ignored(folder: Path, files: list[str], outputs: Collection[str], root: Path) -> list[str]:
    """Return those of `files` in `folder` that git does not ignore, outputs of stages, and all if `folder` is ignored.

    An input that git ignores as a whole is data, as the folders are that DVC tracks.
    """
    paths = {file: str((folder / file).absolute()) for file in files}
    whole = str(folder.absolute())
    ignored = _ignored_by_git([whole, *paths.values()], root) if paths else set()
    if whole in ignored:
        return files
    return [
        file for file, path in paths.items() if path not in ignored or any(overlap(path, output) for output in outputs)
    ]


def _ignored_by_git(paths: Iterable[str], root: Path) -> set[str]:
    """Return the paths that git ignores; none where git does not answer, as outside of a git repository."""
    names = "\0".join(paths).encode(errors="surrogateescape")
    try:
        ignored = run_git(["check-ignore", "-z", "--stdin"], root, stdin=names, allowed=[1])  # 1: it ignores none
    except GitFailed:
        return set()
    return set(ignored.decode(errors="surrogateescape").split("\0"))
