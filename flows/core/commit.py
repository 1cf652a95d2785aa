"""Describes the git commit of the working tree, and compares files with the hashes in dvc.lock."""

import hashlib
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from flows.core.errors import GitFailed
from flows.core.git import git_text, head_commit, is_in_repository
from stages.base.yaml_text import parse_yaml

LOCK = "dvc.lock"


def describe(root: Path) -> str:
    """Returns the short hash of the commit, and marks it where tracked files differ; an empty text outside of git."""
    if not is_in_repository(root):
        return ""
    try:
        commit = head_commit(root)[:10]
        changes = git_text(["status", "--porcelain", "--untracked-files=no"], root)
    except GitFailed as error:
        return f"unknown ({error})"
    return f"{commit} with changes" if commit and changes else commit


def commit_date(root: Path) -> str:
    """Returns the date of the commit of the working tree, as 2026-11-28; an empty text where there is no commit."""
    if not is_in_repository(root):
        return ""
    try:
        return git_text(["log", "-1", "--format=%cs"], root).strip()
    except GitFailed:
        return ""


def is_recorded(root: Path, output: Path) -> bool:
    """Returns True if the file `output` below `root` has the MD5 hash that dvc.lock records for it."""
    try:
        lock = parse_yaml((root / LOCK).read_text(encoding="utf-8"))
        digest = hashlib.md5((root / output).read_bytes(), usedforsecurity=False).hexdigest()  # the hash that DVC uses
    except (OSError, ValueError, YAMLError):  # dvc.lock or the file is missing or broken
        return False
    return digest in [out.get("md5") for out in _outputs(lock) if out.get("path") == output.as_posix()]


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _outputs(lock: Any) -> list[dict[str, Any]]:
    """Returns the outputs of all stages in the parsed dvc.lock; an empty list if it has another structure."""
    try:
        return [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    except (AttributeError, KeyError, TypeError):
        return []
