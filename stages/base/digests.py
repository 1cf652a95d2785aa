"""Damage that is noticed by digests: of outputs, which dvc.lock has, and of records, which have their own.

A person may run the program of a stage by hand: dvc.lock then knows none of the files that it wrote. Of a stage with a
damaged output, other outputs are as recorded. Outputs that are folders are not compared.

Records are files that no other tool reads, such as durations on this machine: what a flipped bit has changed is not
taken for a record.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.base.files import write_json

LOCK = "dvc.lock"
ENTRY = re.compile(r"^    (?:  |- )(?P<key>path|hash|md5): (?P<value>[^\s'\"].*)$")  # as DVC writes it
MD5 = re.compile(r"[0-9a-f]{32}")
Place = Callable[[Path], Path]  # where an output is to be read
KEY = "sha256:record"  # no stage has such a name: DVC allows no colon in them


def recorded_outputs(root: Path) -> list[dict[str, str]]:
    """Returns for each stage in the dvc.lock of `root` the MD5 hashes of those outputs that are files, by path.

    A line that DVC would write otherwise is left out: DVC itself reports a damaged dvc.lock.
    """
    try:
        lines = (root / LOCK).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    stages: list[dict[str, str]] = []
    section = path = ""
    for line in lines:
        if not line.startswith("   "):
            stages.append({})
        elif line.startswith("    ") and line[4:5].isalpha():
            section, path = line.strip(), ""
        elif section == "outs:" and stages and (entry := ENTRY.match(line)):
            if entry["key"] == "path":
                path = entry["value"]
            elif entry["key"] == "md5" and path and MD5.fullmatch(entry["value"]):
                stages[-1][path] = entry["value"]
    return [outputs for outputs in stages if outputs]


def damaged_outputs(root: Path, wanted: Callable[[str], bool], place: Place = lambda path: path) -> list[str]:
    """Returns those `wanted` outputs of the project at `root` that dvc.lock records with another content.

    An output does not count where all other outputs of its stage differ too, and where it is missing.
    """
    found = []
    for outputs in recorded_outputs(root):
        for path in filter(wanted, outputs):
            if (digest := file_md5(place(root / path))) and digest != outputs[path]:
                others = [name for name in outputs if name != path]
                if not others or any(file_md5(place(root / name)) == outputs[name] for name in others):
                    found.append(path)
    return found


def damage_message(paths: Iterable[str | Path]) -> str:
    """Returns the sentence about damaged outputs, without what to do."""
    names = list(map(str, paths))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    are = "are not the files" if len(names) > 1 else "is not the file"
    return f"{', '.join(names[:3])}{more} {are} that dvc.lock records: damaged, or changed outside of a run"


def file_md5(path: Path) -> str:
    """Returns the MD5 of a file in hex, as DVC records it; an empty text if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return ""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `content`, which JSON can have, with its digest."""
    return {**content, KEY: _digest(content)}


def unsealed(content: Any) -> dict[str, Any]:
    """Returns the record without its digest; one of an earlier version has none, and is returned as it is.

    Raises:
        ValueError: it is no object of JSON, or it was changed.
    """
    if not isinstance(content, dict):
        raise ValueError("expected an object")
    record = {name: value for name, value in content.items() if name != KEY}
    if KEY in content and content[KEY] != _digest(record):
        raise ValueError("its content has another digest than it states")
    return record


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` with its digest as JSON, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, sealed(content))


def read_sealed(path: Path) -> dict[str, Any]:
    """Returns the record in the file `path`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no record, or it is damaged.
    """
    try:
        return unsealed(json.loads(path.read_text(encoding="utf-8")))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
