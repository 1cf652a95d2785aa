"""A copy of a folder, from which damaged files come back."""

import shutil
from collections.abc import Collection
from pathlib import Path


class Snapshot:
    """The files of `folder` as they are now, kept in `place`; contents, times and modes come back."""

    def __init__(self, folder: Path, place: Path, skip: Collection[str] = ()) -> None:
        self._folder, self._place, self._skip = folder, place, skip
        shutil.copytree(folder, place, symlinks=True, ignore=lambda *_: skip)

    def restore(self) -> None:
        """Brings all files back, and removes new ones."""
        self._restore(Path())

    def _restore(self, below: Path) -> None:
        kept = {path.name: path for path in (self._place / below).iterdir()}
        found = {path.name: path for path in (self._folder / below).iterdir() if path.name not in self._skip}
        for name in found.keys() - kept.keys():
            _remove(found[name])
        for name, path in kept.items():
            target = self._folder / below / name
            if path.is_dir() and not path.is_symlink():
                if not target.is_dir() or target.is_symlink():
                    _remove(target)
                    target.mkdir()
                self._restore(below / name)
            elif _differs(path, target):
                _remove(target)
                shutil.copy2(path, target, follow_symlinks=False)


def _differs(path: Path, target: Path) -> bool:
    try:
        one, other = path.lstat(), target.lstat()
    except FileNotFoundError:
        return True
    facts = [(stat.st_size, stat.st_mtime_ns, stat.st_mode) for stat in (one, other)]
    return facts[0] != facts[1]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
