"""Finds named pipes, sockets and devices among the files of a stage, which DVC cannot hash; tells what it ignores."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

from dvc.ignore import DvcIgnoreFilter
from dvc.repo import Repo
from dvc.stage import Stage as DvcStage

from flows.core.errors import SpecialFile

KINDS = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def check_files(stage: DvcStage) -> None:
    """Checks the files and folders that are dependencies or outputs of `stage`; those that DVC ignores do not count.

    Raises:
        SpecialFile: one of them is a named pipe, a socket or a device.
    """
    ignore = stage.repo.dvcignore
    for entry in [*stage.deps, *stage.outs]:
        if not entry.fs_path or entry.protocol != "local":  # a database has neither path nor protocol
            continue
        for path, kind in _special(entry.fs_path):
            if not ignore.is_ignored_file(path):
                raise SpecialFile(os.path.relpath(path), kind)


def ignored_by(repo: Repo) -> Callable[[str], bool]:
    """Returns the question whether `.dvcignore` names the file at a path in the project; for one thread."""
    create = cache(lambda: DvcIgnoreFilter(repo.fs, repo.root_dir))  # the one of `repo` is for the thread with the lock
    return lambda path: bool(create().is_ignored_file(os.path.join(repo.root_dir, path)))  # noqa: PTH118


def _special(path: str) -> Iterator[tuple[str, str]]:
    """Yields the special files at `path` and in that folder, with their kinds.

    The types of a folder's files are in its listing; only links are followed to see what they lead to.
    """
    if (kind := _type(path)) != stat.S_IFDIR:
        if kind in KINDS:
            yield path, KINDS[kind]
        return
    folders = [path]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:  # an unreadable folder is DVC's to report
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and (kind := _type(entry.path)) in KINDS:
                    yield entry.path, KINDS[kind]


def _type(path: str) -> int:
    """Returns the type of a file, of `stat`; 0 if it is missing, or a link to nothing, which DVC reports."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - called for each file of each stage
    except OSError:
        return 0
