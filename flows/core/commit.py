"""Describes the git commit of the working tree, and compares files with the hashes in dvc.lock."""

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ruamel.yaml.error import YAMLError

from flows.core.errors import GitFailed
from flows.core.git import git_text, head_commit, is_in_repository
from flows.core.redaction import say
from stages.base.digests import LOCK, REMEDY, change_message, changed_outputs, file_md5
from stages.base.errors import InvalidInput
from stages.base.yaml_text import parse_yaml

JUDGED_FOLDERS = ("data/raw/", "models/", "evaluation/")
JUDGED = ("dataset.json", "training.json", "history.csv", "metrics.json", "predictions.parquet")


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
        outputs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
        recorded = [out.get("md5") for out in outputs if out.get("path") == output.as_posix()]
    except (OSError, ValueError, YAMLError, AttributeError, LookupError, TypeError):  # dvc.lock is missing or broken
        return False
    return file_md5(root / output) in recorded


def is_model(path: str) -> bool:
    """Returns True for the path of a model's file, from which its predictions come."""
    return path.startswith("models/") and PurePosixPath(path).name == "model.onnx"


def is_judged(path: str) -> bool:
    """Returns True for the outputs that gates and a comparison read, without archives: those have checksums."""
    return is_model(path) or (path.startswith(JUDGED_FOLDERS) and PurePosixPath(path).name in JUDGED)


def require_undamaged(root: Path, wanted: Callable[[str], bool]) -> None:
    """Compares the `wanted` outputs below `root` with dvc.lock; warns of those that it records with another content.

    Raises:
        InvalidInput: a model is damaged.
    """
    damaged, others = changed_outputs(root, wanted)
    if damaged:
        raise InvalidInput(f"{change_message(damaged)}; {REMEDY}")
    if others:
        say(f"warning: {change_message(others)}; {REMEDY}", error=True)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
