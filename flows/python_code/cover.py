"""Declares the files that a program imports: compares them with a stage's dependencies, and joins them to folders."""

from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath


def covers(dependency: str, file: str) -> bool:
    """Returns True if a dependency on the path `dependency` includes `file`."""
    return file == dependency or dependency == "." or file.startswith(f"{dependency}/")


def uncovered(files: Iterable[str], dependencies: Collection[str]) -> list[str]:
    """Returns those of `files` that lie in none of `dependencies`, in order."""
    return sorted(file for file in files if not any(covers(item, file) for item in dependencies))


def join_to_folders(
    missing: Collection[str],
    needed: Collection[str],
    python_files: Collection[str],
    may_be_declared: Callable[[str], bool],
) -> list[str]:
    """Returns the fewest files and folders that include `missing`.

    A folder stands for its files if all its Python files are needed and at least two of them are missing.

    Args:
        missing: files that have to be declared.
        needed: files whose changes may rerun the stage.
        python_files: all Python files of the project.
        may_be_declared: whether a folder may be a dependency.
    """
    alien = {str(parent) for file in set(python_files) - set(needed) for parent in PurePosixPath(file).parents}
    joined: dict[str, None] = {}
    for file in sorted(missing):
        folders = [str(parent) for parent in reversed(PurePosixPath(file).parents) if str(parent) != "."]
        joined[next((item for item in folders if _is_worth(item, missing, alien, may_be_declared)), file)] = None
    return list(joined)


def _is_worth(
    folder: str, missing: Collection[str], alien: Collection[str], may_be_declared: Callable[[str], bool]
) -> bool:
    return folder not in alien and sum(covers(folder, file) for file in missing) > 1 and may_be_declared(folder)
