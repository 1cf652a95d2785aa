"""Backups of a stage's earlier outputs: made before the stage runs, restored when it fails.

The backup of an output keeps its path, below `.inkflow/aside/STAGE/outputs`: while the stage runs, `stages/predict` and
`earlier_outputs` read it there. The run locks the list of the backup's files until the stage has ended. A killed run
leaves its backups, whose lists are not locked, and the next run restores them before it starts. If dvc.lock has another
entry for the stage by then, as after a `dvc repro`, the outputs in the workspace are newer, and the backup is
discarded instead.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flows.core.file_lock import open_lock_file
from flows.core.notices import note_once
from flows.engine.lock_entry import is_other, read_entry
from flows.engine.processes.files_in_use import LIST as FILES_IN_USE
from flows.engine.processes.files_in_use import find_foreign_use
from flows.engine.types import file_name
from stages.base.digests import read_sealed, sealed
from stages.base.files import abandoned_files

FOLDER = Path(".inkflow/aside")
LIST, OUTPUTS = "paths.json", "outputs"
DISCARDED = ","  # begins the name of a backup that is being deleted; the name of no stage's backup has it
INCOMPLETE_S = 60.0  # age of a backup without a list that is no longer being made


def backup_outputs(root: Path, stage: str, paths: Sequence[str], running: ExitStack | None = None) -> None:
    """Moves the outputs of `stage` at `paths` below `root` into a backup, which replaces an earlier one.

    The backup counts as that of a running stage until `running` closes; without it, as one that a killed run left.
    """
    discard_backup(root, stage)
    folder = _folder(root, stage)
    existing = [path for path in paths if os.path.lexists(root / path)]
    hidden = [name for path in paths for name in _temporary_files(root, path)]
    content = {"paths": existing, "outputs": list(paths), "stage": stage, "entry": read_entry(root, stage)}
    content["hidden"] = hidden  # named as temporary files, but here before the stage began: a person's
    folder.mkdir(parents=True)
    with ExitStack() as lock:
        file = lock.enter_context((folder / f".{LIST}").open("w", encoding="utf-8"))
        fcntl.flock(file, fcntl.LOCK_EX)  # before the file has its name: an unlocked one is a leftover
        json.dump(sealed(content), file)
        file.flush()
        Path(file.name).replace(folder / LIST)
        for path in existing:
            backup = _backup_path(folder, path)
            backup.parent.mkdir(parents=True, exist_ok=True)
            _move(root / path, backup)
        if running is not None:
            running.push(lock.pop_all())


def restore_outputs(root: Path, stage: str) -> None:
    """Moves the outputs in the backup of `stage` back, over those of a failed run; discards an outdated backup.

    Removes the temporary files that a killed program of `stages` left beside its outputs.

    Raises:
        OSError: an output cannot be replaced; it stays in the backup, and all others are restored.
    """
    folder = _folder(root, stage)
    content = _read_list(folder)
    for path in content["outputs"] if "hidden" in content else ():
        for name in _temporary_files(root, path):
            if name not in content["hidden"]:
                with suppress(OSError):
                    remove_path(root / name)
    paths = [] if is_outdated(root, stage) else content["paths"]
    errors = [error for path in paths if (error := _restore_output(_backup_path(folder, path), root / path))]
    if errors:
        raise errors[0]
    if (folder / LIST).exists() and "stage" not in _read_list(folder):
        note_once(f"{folder / LIST} is damaged: of the outputs of {stage}, those that are missing are restored")
        _restore_missing(folder / OUTPUTS, root)
    discard_backup(root, stage)


def has_backups(root: Path) -> bool:
    """True while stages run in the project at `root`, and after a run that was killed."""
    return (root / FOLDER).is_dir() and any((root / FOLDER).iterdir())


@contextmanager
def earlier_outputs(root: Path) -> Iterator[Path]:
    """Yields a folder to read the outputs of the project at `root` from: `root` itself if no stage is running.

    While stages run, it is a temporary folder of links, in which the outputs in backups have their own places.
    """
    stages = {folder: _read_list(folder).get("stage", unquote(folder.name)) for folder in _backups(root)}
    folders = [folder for folder, stage in stages.items() if not is_outdated(root, stage)]
    backups = {Path(path): _backup_path(folder, path) for folder in folders for path in _read_list(folder)["paths"]}
    existing = {path: backup.absolute() for path, backup in backups.items() if os.path.lexists(backup)}
    inside = {path: backup for path, backup in existing.items() if path.parts[0] != ".."}
    if not inside:
        yield root
        return
    parents = {parent for path in inside for parent in path.parents}
    with tempfile.TemporaryDirectory() as folder:
        for parent in sorted(parents):
            (Path(folder) / parent).mkdir(exist_ok=True)
            for entry in (root / parent).iterdir() if (root / parent).is_dir() else ():
                if parent / entry.name not in inside.keys() | parents:
                    (Path(folder) / parent / entry.name).symlink_to(entry.absolute())
        for path, backup in inside.items():
            (Path(folder) / path).symlink_to(backup)
        yield Path(folder)


def restore_all(root: Path) -> None:
    """Restores the backups that killed runs left in the project at `root`, and not those of living ones.

    DVC's lock is held when it is called.
    """
    for folder in _backups(root):
        restore_leftover(root, _read_list(folder).get("stage", unquote(folder.name)))
    for folder in (root / FOLDER).glob(f"{DISCARDED}*"):
        _delete(folder)


def restore_leftover(root: Path, stage: str) -> bool:
    """Restores the backup of `stage` if a killed run left it; returns False if a process, such as DVC's, is running it.

    DVC's lock is held when it is called: DVC writes dvc.lock and its list of files in use in place.
    """
    folder = _folder(root, stage)
    try:
        with os.fdopen(open_lock_file(folder / LIST), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), (folder / LIST).stat()):  # else another run has restored it
                names = _read_list(folder)["outputs"] or [path.name for path in (folder / OUTPUTS).glob("*")]  # damaged
                outputs = [os.path.normpath(root.resolve() / name) for name in names]
                if find_foreign_use(root / FILES_IN_USE, "write", outputs):
                    return False
                restore_outputs(root, stage)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # killed before it moved an output
        with suppress(FileNotFoundError):
            if abs(time.time() - folder.stat().st_mtime) > INCOMPLETE_S:  # the clock may have been set back
                discard_backup(root, stage)
    return True


def has_backup(root: Path, stage: str) -> bool:
    """True while `stage` runs in the project at `root`, and after its run was killed."""
    return _folder(root, stage).exists()


def discard_backup(root: Path, stage: str) -> None:
    """Deletes the backup of `stage`, under another name: the next run deletes what is left after a kill."""
    folder = _folder(root, stage)
    discarded = folder.with_name(DISCARDED + folder.name)
    with suppress(OSError):
        folder.rename(discarded)
    _delete(discarded)
    _delete(folder)  # if it could not be renamed


def is_outdated(root: Path, stage: str) -> bool:
    """True if dvc.lock has another entry for `stage` than when its backup was made: another process recorded it.

    An entry that is gone, as after `git checkout`, tells of no newer outputs.
    """
    content, entry = _read_list(_folder(root, stage)), read_entry(root, stage)
    return "entry" in content and entry is not None and is_other(content["entry"], entry)


def _delete(folder: Path) -> None:
    with suppress(OSError):
        remove_path(folder)
    shutil.rmtree(folder, ignore_errors=True)  # the rest, if a file cannot be removed


def _backups(root: Path) -> list[Path]:
    return list((root / FOLDER).glob(f"[!{DISCARDED}]*"))


def _folder(root: Path, stage: str) -> Path:
    return root / FOLDER / file_name(stage)


def _backup_path(folder: Path, path: str) -> Path:
    """Returns the place of an output in a backup: its own path, or one name for an output outside of the project."""
    return folder / OUTPUTS / (file_name(path) if path.startswith("..") else path)


def _read_list(folder: Path) -> dict[str, Any]:
    try:
        content = {"paths": [], "outputs": [], **read_sealed(folder / LIST)}
        if not all(isinstance(content[key], list) for key in ("paths", "outputs")):
            raise ValueError("expected lists")
        return content
    except (OSError, ValueError):
        return {"paths": [], "outputs": []}  # killed before it had a list, and so before it moved an output; or damaged


def _restore_output(backup: Path, place: Path) -> OSError | None:
    """Moves the output at `backup` to its `place`; returns the error if that fails."""
    if os.path.lexists(backup):  # else the run was killed before it moved this output
        try:
            remove_path(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            _move(backup, place)
        except OSError as error:
            return error
    return None


def _restore_missing(backup: Path, place: Path) -> None:
    """Moves what is in the folder `backup` to `place`, except files that are there."""
    for path in list(backup.iterdir()) if backup.is_dir() else ():
        target = place / path.name
        if not os.path.lexists(target):
            place.mkdir(parents=True, exist_ok=True)
            _move(path, target)
        elif path.is_dir() and not path.is_symlink() and target.is_dir():
            _restore_missing(path, target)


def _temporary_files(root: Path, path: str) -> list[str]:
    """Returns the files with names as `stages.base.files` gives them beside an output, if their process has ended."""
    output = root / path
    found = [new.name for new in [output.with_name(f".{output.name}.new")] if os.path.lexists(new)]
    found += [temporary.name for temporary in abandoned_files(output.parent, output.name)]
    return [str(Path(path).with_name(name)) for name in found]


def _move(source: Path, target: Path) -> None:
    """Moves a file or folder, to another file system too; `target` is complete before `source` is deleted."""
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f".{target.name}.moving")  # a kill can leave it; `source` is then still complete
        remove_path(partial)
        _copy(source, partial)
        partial.rename(target)
        remove_path(source)


def _rename(source: Path, target: Path) -> None:
    """Renames a file or folder; a folder that its owner may not write in, too, with its permissions."""
    mode = source.lstat().st_mode
    if stat.S_ISDIR(mode) and not mode & stat.S_IWUSR:
        source.chmod(mode | stat.S_IWUSR)
        try:
            source.rename(target)
        except OSError:
            source.chmod(mode)
            raise
        target.chmod(mode)
    else:
        source.rename(target)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def remove_path(path: Path) -> None:
    """Removes a file, a link or a folder with all in it; a missing file is no error."""
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except PermissionError:  # a stage has taken the permission to write from its folders
            path.chmod(0o700)
            for folder, names, _ in os.walk(path):
                for inner in (Path(folder, name) for name in names):
                    if not inner.is_symlink():
                        inner.chmod(0o700)
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
