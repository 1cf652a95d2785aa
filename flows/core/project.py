"""The DVC project that contains the current folder."""

import os
from contextlib import suppress
from pathlib import Path

from stages.base.dvc_settings import expanded
from stages.base.errors import InvalidInput, OutputError
from stages.base.files import write_ignore_files

CONFLICT = b"<<<<<<< "  # the first line of a merge conflict begins with this
MERGED_FILES = ("dvc.yaml", "dvc.lock", "params.yaml", "execution.yaml")
STATE = Path(".inkflow")  # the folder of what Inkflow keeps on this machine
CLONES = Path(".dvc/tmp/inkflow")  # of sweeps, and of runs with parameters of their own
MIRROR = "INKFLOW_MIRROR"  # a variable with the folder or base URL of data sets
PROJECT = "INKFLOW_PROJECT"  # a variable with the root of the project, of which stages may run in a clone


def enter_project() -> Path:
    """Changes into the root of the DVC project that contains the current folder: its files hold paths from there.

    Returns:
        The folder that was the current one, relative to the root.

    Raises:
        InvalidInput: no DVC project contains the current folder.
    """
    folder, root = Path.cwd(), find_project()
    name_places(root)
    os.chdir(root)
    return folder.relative_to(root)


def name_places(root: Path) -> None:
    """Lets stages that run in other folders, the clones of the project at `root`, find the mirror and own data.

    Sets INKFLOW_PROJECT, and makes a folder in INKFLOW_MIRROR absolute, which is relative to the current one.
    """
    mirror = os.environ.get(MIRROR, "").strip()
    if mirror and "://" not in mirror:
        os.environ[MIRROR] = str(expanded(mirror).absolute())
    os.environ[PROJECT] = str(root)


def find_project() -> Path:
    """Returns the root of the DVC project that contains the current folder.

    Raises:
        InvalidInput: no DVC project contains it.
    """
    folder = Path.cwd()
    for parent in (folder, *folder.parents):
        if (parent / ".dvc").is_dir():
            return parent
    raise InvalidInput(f"{folder} is in no DVC project; go to the project's folder, or make one with `inkflow init`")


def make_state_folder(root: Path) -> None:
    """Creates .inkflow in the project at `root`, with files that let git and DVC ignore all in it.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        (root / STATE).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(root / STATE, error) from error
    with suppress(OutputError, OSError):  # a folder that cannot be written is reported when it matters
        write_ignore_files(root / STATE)


def merge_conflict(root: Path) -> str | None:
    """Returns a message about a merge conflict in one of the files below `root` that define a run; None without one."""
    for name in MERGED_FILES:
        try:
            content = (root / name).read_bytes()
        except OSError:
            continue
        if message := conflict_message(name, content):
            return message
    return None


def conflict_message(name: str, content: bytes) -> str | None:
    """Returns a message about the merge conflict in a file with this name and content; None without one."""
    if not (content.startswith(CONFLICT) or b"\n" + CONFLICT in content):
        return None
    take = f"take one side with `git checkout --ours {name}` or `--theirs`"
    advice = f"{take}, then `inkflow run`" if name.endswith(".lock") else f"edit it, or {take}"
    return f"{name} has a merge conflict, a line that begins with {CONFLICT.decode().strip()}: {advice}"
