"""Snapshots of a git working tree, and clones that have the files of a snapshot.

A snapshot has the tracked files of the tree and of its submodules as they are at one moment, uncommitted changes
included. Files whose bytes differ from those that git stores, as with Git LFS or other line ends, are copied from the
tree. The repository keeps its HEAD, index and configuration; a snapshot adds objects to it, which no reference names.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.core.git import add_changes, git_names, git_text, head_commit, refreshed_index, run_git
from stages.base.errors import InkflowError, InvalidInput

SUBMODULE, SYMLINK = "160000", "120000"  # modes of entries in a tree
# Settings of the repository itself that decide the bytes of the files in its working tree.
CONVERSIONS = r"^(filter\..*|core\.(autocrlf|eol|safecrlf|filemode|symlinks|checkroundtripencoding))$"


@dataclass(frozen=True)
class Snapshot:
    """The content of a working tree at one moment.

    Attributes:
        top: the top of the working tree.
        head: the commit that is checked out.
        tree: git's tree with the tracked files.
        files: hash of each file's bytes in the working tree, by its path below `top`; git may store other bytes.
        submodules: snapshots of the submodules that are checked out, by their path below `top`.
    """

    top: Path
    head: str
    tree: str
    files: Mapping[str, str]
    submodules: Mapping[str, "Snapshot"]

    def clone(self, target: Path) -> None:
        """Creates a clone with the files of this snapshot at `target`; it shares the repository's objects.

        Raises:
            GitFailed: git cannot clone.
            InkflowError: a file that git stores in another form has changed since the snapshot.
        """
        options = ["--shared", "--no-checkout", "--no-tags", "--no-recurse-submodules"]
        run_git(["-c", "clone.rejectShallow=false", "clone", "--quiet", *options, str(self.top), str(target)], self.top)
        (target / ".git/config").chmod(0o600)  # it gets settings and addresses that only this user may be able to read
        self._share_objects(target)
        shutil.rmtree(target / ".git/hooks", ignore_errors=True)  # from the user's template
        run_git(["update-ref", "--no-deref", "HEAD", self.head], target)
        filters = self._copy_conversions(target)
        run_git([*filters, "read-tree", "-u", "--reset", self.tree], target)
        converted = [name for name, digest in self.files.items() if _hash(target / name, digest) != digest]
        for name in converted:
            self._copy_file(name, target)
        if converted:
            add_changes(target)  # git compares sizes first, and would call these files changed
        for name, snapshot in self.submodules.items():
            snapshot.clone(target / name)

    def _share_objects(self, target: Path) -> None:
        """Lets the clone read all objects of the repository: git ignores --shared if the history is shallow."""
        names = ("objects", "shallow")
        objects, shallow = (self.top / git_text(["rev-parse", "--git-path", name], self.top) for name in names)
        (target / ".git/objects/info").mkdir(exist_ok=True)
        (target / ".git/objects/info/alternates").write_bytes(os.fsencode(f"{objects.resolve()}\n"))
        with suppress(FileNotFoundError):  # its history is complete
            shutil.copyfile(shallow, target / ".git/shallow")

    def _copy_conversions(self, target: Path) -> list[str]:
        """Copies the settings that decide the bytes of files; returns options that switch filters off.

        A filter may need files or a server that only the repository itself has: filtered files are copied instead.
        """
        attributes = self.top / git_text(["rev-parse", "--git-path", "info/attributes"], self.top)
        if attributes.is_file():
            (target / ".git/info").mkdir(exist_ok=True)
            shutil.copyfile(attributes, target / ".git/info/attributes")
        switches = set()
        for entry in _settings(self.top):
            key, _, value = entry.partition("\n")
            run_git(["config", "--replace-all", key, value], target)
            if key.startswith("filter."):
                driver = key.rpartition(".")[0]
                switches |= {f"{driver}.smudge=", f"{driver}.process=", f"{driver}.required=false"}
        return [word for switch in sorted(switches) for word in ("-c", switch)]

    def _copy_file(self, name: str, target: Path) -> None:
        (target / name).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.copy2(self.top / name, target / name)
        if _hash(target / name, self.files[name]) != self.files[name]:
            raise InkflowError(
                f"{name} has changed since the start, and git stores it in another form, so that its earlier content "
                "is lost; start again"
            )


def take_snapshot(top: Path) -> Snapshot:
    """Returns a snapshot of the working tree whose top is `top`.

    Raises:
        GitFailed: git cannot read the repository.
        InvalidInput: there is no commit yet, or there are merge conflicts.
    """
    head = head_commit(top)
    if not head:
        raise InvalidInput(f"{top} is cloned from a git commit, and there is none yet; commit first")
    with refreshed_index(top) as index:
        conflicts = sorted({line.partition("\t")[2] for line in git_names(["ls-files", "-u", "-z"], top, index=index)})
        if conflicts:
            raise InvalidInput(f"{', '.join(conflicts)}: a merge conflict; resolve it and `git add` it, then try again")
        add_changes(top, index=index)
        tree = git_text(["write-tree"], top, index=index)
    entries = list(_entries(top, tree))
    paths = [name for mode, _, name in entries if mode == SUBMODULE and (top / name / ".git").exists()]
    files = {
        name: actual
        for mode, digest, name in entries
        if mode not in (SUBMODULE, SYMLINK) and (actual := _hash(top / name, digest))
    }
    return Snapshot(top, head, tree, files, {name: take_snapshot(top / name) for name in paths})


def committed_snapshot(top: Path) -> Snapshot:
    """Returns a snapshot of the commit that is checked out, without later changes of the working tree at `top`.

    Raises:
        GitFailed: git cannot read the repository.
        InvalidInput: there is no commit yet, or there are merge conflicts.
    """
    present = take_snapshot(top)
    tree = git_text(["rev-parse", f"{present.head}^{{tree}}"], top)
    changed = {name for _, _, name in set(_entries(top, present.tree)) - set(_entries(top, tree))}
    files = {name: digest for name, digest in present.files.items() if name not in changed}
    submodules = {name: committed_snapshot(top / name) for name in present.submodules if name not in changed}
    return Snapshot(top, present.head, tree, files, submodules)


def _entries(top: Path, tree: str) -> Iterator[tuple[str, str, str]]:
    """Yields mode, object and path of each entry of `tree`."""
    for line in git_names(["ls-tree", "-r", "-z", "--full-tree", tree], top):
        facts, _, name = line.partition("\t")
        mode, _, digest = facts.split()
        yield mode, digest, name


def _settings(top: Path) -> list[str]:
    """Returns key and value of each setting that decides the bytes of files, with a newline between them."""
    output = run_git(["config", "--null", "--get-regexp", CONVERSIONS], top, allowed=[1])  # 1: there is none
    return output.decode(errors="surrogateescape").split("\0")[:-1]


def _hash(path: Path, like: str) -> str:
    """Returns git's hash of the bytes in a file, of the same kind as the hash `like`; empty if it is no file."""
    try:
        if not path.is_file() or path.is_symlink():
            return ""
        header = b"blob %d\0" % path.stat().st_size
        result = hashlib.new("sha256" if len(like) == 64 else "sha1", header, usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                result.update(block)
    except OSError:
        return ""
    return result.hexdigest()
