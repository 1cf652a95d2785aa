"""Files of many revisions, read by two git processes whatever their number."""

from collections.abc import Iterable
from pathlib import Path
from posixpath import normpath

from flows.core.git import git_text, run_git

Name = tuple[str, str]  # a commit, and a path below the project's folder


class GitFiles:
    """Reads files of revisions of the project in `root`; each content once, however many revisions have it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = git_text(["rev-parse", "--show-prefix"], root)
        self._ids: dict[Name, str] = {}
        self._contents: dict[str, bytes] = {}

    def load(self, names: Iterable[Name]) -> None:
        """Reads files, those that exist, so that `read` and `id` know them."""
        new = [name for name in dict.fromkeys(names) if name not in self._ids and self._is_inside(name[1])]
        if not new:
            return
        asked = [f"{commit}:{normpath(self._prefix + path)}" for commit, path in new]
        lines = self._batch(["--batch-check=%(objecttype) %(objectname)"], asked).splitlines()
        for name, line in zip(new, lines, strict=True):
            kind, _, digest = line.partition(b" ")
            self._ids[name] = digest.decode() if kind in (b"blob", b"tree") else ""
        blobs = [self._ids[name] for name, line in zip(new, lines, strict=True) if line.startswith(b"blob ")]
        self._load_contents(dict.fromkeys(blob for blob in blobs if blob not in self._contents))

    def _is_inside(self, path: str) -> bool:
        return "\n" not in path and not normpath(self._prefix + path).startswith(("../", "/"))

    def id(self, commit: str, path: str) -> str:
        """Returns git's identifier of a file or folder that was loaded; empty if the commit has none."""
        return self._ids.get((commit, path), "")

    def read(self, commit: str, path: str) -> bytes | None:
        """Returns the content of a file that was loaded; None if the commit has no such file."""
        return self._contents.get(self.id(commit, path))

    def _load_contents(self, blobs: Iterable[str]) -> None:
        asked = list(blobs)
        output = memoryview(self._batch(["--batch"], asked)) if asked else memoryview(b"")
        position = 0
        for blob in asked:
            end = position + bytes(output[position : position + 200]).index(b"\n")
            words = bytes(output[position:end]).split()
            if words[-1] == b"missing":  # of a clone without all objects
                position = end + 1
                continue
            size = int(words[-1])
            self._contents[blob] = bytes(output[end + 1 : end + 1 + size])
            position = end + 2 + size

    def _batch(self, options: list[str], lines: list[str]) -> bytes:
        text = "".join(f"{line}\n" for line in lines)
        return run_git(["cat-file", *options], self._root, stdin=text.encode(errors="surrogateescape"))
