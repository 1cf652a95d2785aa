"""The kinds of files that a project keeps below `.inkflow` and `.dvc/tmp`: which are tried, and which no code reads."""

from collections.abc import Iterable
from pathlib import Path

STATE = (".inkflow", ".dvc/tmp")
UNREAD = {
    "**/*.lock": "locks: the system knows who holds them, their content says nothing",
    "**/.gitignore": "written whenever it is missing",
    "**/.dvcignore": "written whenever it is missing",
    ".inkflow/run.queue": "a lock",
    ".inkflow/sharing/*": "locks",
    ".inkflow/opened/*": "written and read during one run of a stage",
    ".inkflow/logs/*": "for people",
    ".inkflow/runs/*/*": "for people: the last lines of a failed stage",
    ".inkflow/report/*": "for people: written anew by each `inkflow report`",
    ".inkflow/compare/*": "for people: written anew by each `inkflow compare`",
    ".inkflow/prefect/server.log": "written anew by each server",
    ".inkflow/prefect/memo_store.toml": "Prefect's own, read by Prefect, which ignores a damaged one",
    ".inkflow/prefect/prefect.db-*": "of SQLite: parts of the database",
    ".inkflow/search/*/owners/*": "locks",
    ".dvc/tmp/lock": "a lock",
    ".dvc/tmp/btime": "DVC reads its time, not its content",
}


def unnamed(root: Path, patterns: Iterable[str]) -> list[str]:
    """Returns the files of the state of the project at `root` that neither `patterns` nor UNREAD name."""
    files = {path for folder in STATE for path in (root / folder).rglob("*") if path.is_file()}
    known = {path for pattern in (*patterns, *UNREAD) for path in root.glob(pattern)}
    return sorted(str(path.relative_to(root)) for path in files - known)
