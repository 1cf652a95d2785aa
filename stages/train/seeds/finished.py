"""A finished seed: the files of one training, with the fingerprint of its inputs and the digests of all of them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.base.files import write_json

RECORD = "training.json"
FILES = ("model.keras", "model.onnx", "history.csv")  # beside the record
Files = Mapping[str, Path]  # by name: a cache keeps files under other names


def seal(folder: Path, seed: int, key: str, summary: Mapping[str, Any]) -> None:
    """Writes the record of the training in `folder`: its `summary`, its seed, its fingerprint `key`, and digests."""
    record = {**summary, "seed": seed, "fingerprint": key}
    digests = {name: _digest(folder / name) for name in FILES} | {RECORD: _record_digest(record)}
    write_json(folder / RECORD, record | {"sha256": digests})


def summary_of(files: Files) -> dict[str, Any]:
    """Returns the summary of a finished seed, as a training with this seed alone writes it to training.json."""
    record: dict[str, Any] = json.loads(files[RECORD].read_text(encoding="utf-8"))
    return {name: value for name, value in record.items() if name not in ("seed", "fingerprint", "sha256")}


def is_finished(files: Files, key: str) -> bool:
    """Returns whether `files` are those of a training with the fingerprint `key`, none missing or changed."""
    try:
        record = json.loads(files[RECORD].read_text(encoding="utf-8"))
        if record["fingerprint"] != key or not isinstance(record["validation"]["loss"], float):
            return False
        digests = {name: _digest(files[name]) for name in FILES} | {RECORD: _record_digest(record)}
        return bool(record["sha256"] == digests)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _record_digest(record: Mapping[str, Any]) -> str:
    """Returns the digest of a record without its digests."""
    content = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path) -> dict[str, Path]:
    """Returns the files of the folder of a seed, by name."""
    return {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
