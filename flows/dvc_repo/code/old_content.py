"""Finds the earlier content of code dependencies by its recorded hash: in git's history, or in a store of our own.

The store has what git lacks: content that was never committed. A run keeps in it the Python files of the dependencies
that it records, each once, in `.dvc/tmp`. Every content is checked against its hash before it is used.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile.tree import Tree

from flows.core.errors import GitFailed
from flows.core.git import git_names, git_text, run_git
from flows.core.project import PROJECT
from flows.dvc_repo.change_detection import folder_hash, is_in_project
from stages.base.errors import OutputError
from stages.base.files import parse_json, replacing

FOLDER = Path("inkflow") / "code"  # of the store, in DVC's folder for temporary files
MAX_REVISIONS = 300  # that are searched for a file, newest first
FIRST = 8  # of them that are read at once; the others follow only if none of these is the one
MAX_COMMITS = 60  # that are searched for a folder: each is listed as a whole
MAX_FILES = 2000  # of a folder that is kept or searched
MAX_SIZE = 2_000_000  # bytes of a file; longer ones are never compared
MAX_KEPT = 5000  # objects in the store; the oldest are removed
BLOB = "100"  # the mode of a file, not of a link or submodule, begins with this
Files = dict[str, str]  # MD5 by path in a folder


class OldContent:
    """Earlier versions of the files of one project."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._root = Path(repo.root_dir)
        self._store = Path(repo.tmp_dir) / FOLDER
        # A clone reads the store of its project too.
        self._stores = [self._store, Path(os.environ.get(PROJECT, repo.root_dir)) / ".dvc" / "tmp" / FOLDER]
        self._known: dict[str, bytes] = {}  # content by MD5, of files found in git
        self._hashes: dict[str, str] = {}  # MD5 by git's name of a blob
        self._kept: set[str] = set()  # in the store, so that it is not asked again
        self._is_grown = False  # since the oldest objects were removed

    def file(self, path: str, md5: str) -> bytes | None:
        """Return the version of the file `path` with the hash `md5`; None if it is not found."""
        content = self._known.get(md5) or self._stored(md5)
        if content is None:
            with suppress(GitFailed):
                blobs = self._versions(path)
                for part in (blobs[:FIRST], blobs[FIRST:]):
                    self._read_blobs(part)
                    if md5 in self._known:
                        return self._known[md5]
        return content

    def folder(self, path: str, value: str) -> Files | None:
        """Return the files of the version of the folder `path` with the hash `value`; None if it is not found."""
        stored = self._stored(value)
        if stored is not None:
            return _listed(stored)
        with suppress(GitFailed):
            for files in self._folder_versions(path):
                if folder_hash(files) == value:
                    return files
        return None

    def keep(self, dep: Any) -> None:
        """Keep the Python files of a dependency, whose hash was just computed, and the list of its files."""
        value = str(dep.hash_info.value) if getattr(dep, "hash_info", None) else ""
        if not value or dep.hash_info.name != "md5" or not is_in_project(dep) or value in self._kept:
            return
        tree = getattr(dep, "obj", None)
        with suppress(OSError):  # what cannot be kept costs a run later, no result
            if isinstance(tree, Tree) and len(tree) <= MAX_FILES:
                files = folder_files(tree)
                python = [name for name in files if name.endswith(".py")]
                if python:
                    listed = [{"md5": md5, "relpath": name} for name, md5 in files.items()]
                    self._put(value, json.dumps(listed).encode())
                for name in python:
                    self._keep_file(Path(dep.fs_path) / name, files[name])
            elif dep.fs_path.endswith(".py"):
                self._keep_file(Path(dep.fs_path), value)
            self._kept.add(value)
            self._remove_oldest()

    def _keep_file(self, path: Path, md5: str) -> None:
        if md5 in self._kept or (self._store / md5).exists() or path.stat().st_size > MAX_SIZE:
            return
        content = path.read_bytes()
        if md5_of(content) == md5:
            self._put(md5, content)

    def _put(self, name: str, content: bytes) -> None:
        """Write an object into the store."""
        if (self._store / name).exists():
            return
        with suppress(OutputError):
            with replacing(self._store / name) as temporary:
                temporary.write_bytes(content)
            self._is_grown = True

    def _remove_oldest(self) -> None:
        objects = list(self._store.iterdir()) if self._is_grown else []
        if len(objects) > MAX_KEPT:
            for path in sorted(objects, key=lambda item: item.stat().st_mtime)[: len(objects) - MAX_KEPT // 2]:
                path.unlink(missing_ok=True)
        self._is_grown = False

    def _stored(self, name: str) -> bytes | None:
        for store in self._stores:
            with suppress(OSError):
                content = (store / name).read_bytes()
                is_folder = name.endswith(".dir")
                if is_folder and folder_hash(_listed(content)) == name:
                    return content
                if not is_folder and md5_of(content) == name:
                    return content
        return None

    def _versions(self, path: str) -> list[str]:
        """Return git's names of the versions of a file, the newest first."""
        arguments = ["log", f"-{MAX_REVISIONS}", "--format=", "--raw", "--no-abbrev", "--no-renames", "-m", "-z"]
        fields = git_names([*arguments, "HEAD", "--", f":(literal){path}"], self._root)
        blobs: dict[str, None] = {}
        for field in fields:
            if field.lstrip("\n").startswith(":"):
                old_mode, new_mode, old, new, *_ = field.strip("\n:").split()
                versions = ((new_mode, new), (old_mode, old))
                blobs |= dict.fromkeys(blob for mode, blob in versions if mode.startswith(BLOB))
        return list(blobs)

    def _folder_versions(self, path: str) -> Iterator[Files]:
        """Yield the versions of a folder in git, the newest first."""
        literal = f":(literal){path}"
        commits = git_text(["log", f"-{MAX_COMMITS}", "--format=%H", "HEAD", "--", literal], self._root).split()
        for commit in commits:
            entries = git_names(["ls-tree", "-r", "-z", commit, "--", f"{path}/"], self._root)
            blobs: Files = {}
            for entry in entries[: MAX_FILES + 1]:
                facts, _, name = entry.partition("\t")
                mode, _, blob = facts.split()
                is_ignored = self._repo.dvcignore.is_ignored_file(str(self._root / name))
                if mode.startswith(BLOB) and not is_ignored:
                    blobs[os.path.relpath(name, path)] = blob
            if len(entries) <= MAX_FILES:
                self._read_blobs(list(blobs.values()))
                yield {name: self._hashes[blob] for name, blob in blobs.items() if blob in self._hashes}

    def _read_blobs(self, blobs: Sequence[str]) -> None:
        """Read the contents of blobs, each once."""
        due = [blob for blob in dict.fromkeys(blobs) if blob not in self._hashes]
        if not due:
            return
        output = run_git(["cat-file", "--batch"], self._root, stdin="".join(f"{blob}\n" for blob in due).encode())
        position = 0
        for blob in due:
            end = output.index(b"\n", position)
            size = output[position:end].rpartition(b" ")[2]
            position = end + 1
            if size.isdigit():  # else it is missing, as in a partial clone
                content = output[position : position + int(size)]
                position += int(size) + 1
                self._hashes[blob] = md5_of(content)
                if len(content) <= MAX_SIZE:
                    self._known[self._hashes[blob]] = content


def folder_files(tree: Tree) -> Files:
    """Return the hash of each file of a folder."""
    return {"/".join(key): str(info.value) for key, _, info in tree if info}


def _listed(content: bytes) -> Files:
    try:
        return {str(entry["relpath"]): str(entry["md5"]) for entry in parse_json(content)}
    except (ValueError, TypeError, KeyError):
        return {}


def md5_of(content: bytes) -> str:
    """Return DVC's hash of a file with this content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
