"""Damage that is noticed by digests: of outputs, which dvc.lock has, and of records, which have their own.

A person may run the program of a stage by hand, or check out another dvc.lock: outputs then differ from dvc.lock, and
are not damaged. A model counts as damaged only if nothing else explains its content. Outputs that are folders are not
compared, and neither are those of stages with a `wdir`, to which their paths in dvc.lock are relative.

Records are files that no other tool reads, such as durations on this machine: what a flipped bit has changed is not
taken for a record.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from stages.base.files import write_json

LOCK = "dvc.lock"
GATES = Path("reports/gates.json")  # written by the stage `report`, with the SHA-256 of each model
TIMINGS = Path(".inkflow/timings")  # in it train@NAME.json, with the SHA-256 of the model that was trained last
CACHE = Path(".dvc/cache/files/md5")
MODEL = ".onnx"  # suffix of the outputs that can count as damaged
REMEDY = "`dvc checkout` or `inkflow run` restores what is recorded, `dvc commit` keeps what is there"
STAGE = re.compile(r"^  (?P<quote>['\"]?)(?P<name>[^\s'\"@:]+)[^:]*:$")  # of a generated stage, the part before the @
ENTRY = re.compile(r"^    (?:  |- )(?P<key>path|hash|md5): (?P<value>[^\s'\"].*)$")  # as DVC writes it
MD5 = re.compile(r"[0-9a-f]{32}")
Place = Callable[[Path], Path]  # where an output is to be read
KEY = "sha256:record"  # no stage has such a name: DVC allows no colon in them


def recorded_outputs(root: Path) -> list[dict[str, str]]:
    """Returns for each stage in the dvc.lock of `root` the MD5 hashes of those outputs that are files, by path.

    Stages with a `wdir` are left out, and lines that DVC would write otherwise: DVC itself reports a damaged dvc.lock.
    """
    try:
        lines = (root / LOCK).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    elsewhere = _stages_with_wdir(root)
    stages: list[dict[str, str]] = []
    name = section = path = ""
    for line in lines:
        if not line.startswith("   "):
            stages.append({})
            name = match["name"] if (match := STAGE.match(line)) else ""
        elif line.startswith("    ") and line[4:5].isalpha():
            section, path = line.strip(), ""
        elif section == "outs:" and stages and name not in elsewhere and (entry := ENTRY.match(line)):
            if entry["key"] == "path":
                path = entry["value"]
            elif entry["key"] == "md5" and path and MD5.fullmatch(entry["value"]):
                stages[-1][path] = entry["value"]
    return [outputs for outputs in stages if outputs]


def _stages_with_wdir(root: Path) -> set[str]:
    """Returns the names in dvc.yaml of stages with a `wdir`; none if it cannot be read, which DVC itself reports."""
    try:
        text = (root / "dvc.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    if "wdir" not in text:
        return set()
    from ruamel.yaml.error import YAMLError  # late: slow, and few projects have such a stage

    from stages.base.yaml_text import parse_yaml

    try:
        stages = parse_yaml(text)["stages"]
        return {str(name) for name, stage in stages.items() if "wdir" in stage.get("do", stage)}
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError):
        return set()


def changed_outputs(
    root: Path, wanted: Callable[[str], bool], place: Place = lambda path: path
) -> tuple[list[str], list[str]]:
    """Returns those `wanted` outputs of the project at `root` that dvc.lock records with another content.

    A missing output does not count, and neither do the outputs of a model that was trained here by hand.

    Returns:
        The damaged models: another output of the stage is as recorded, and neither a record nor DVC's cache has the
        content. And the other outputs, which may be damaged, made by hand, or of another commit.
    """
    damaged: list[str] = []
    others: list[str] = []
    for outputs in recorded_outputs(root):
        found = {path: file_md5(place(root / path)) for path in outputs if wanted(path)}
        changed = [path for path, digest in found.items() if digest not in ("", outputs[path])]
        if any(path.endswith(MODEL) and _is_made_here(root, path, place) for path in changed):
            continue
        for path in changed:
            is_model = path.endswith(MODEL) and not _is_cached(root, found[path])
            is_alone = is_model and any(file_md5(place(root / name)) == outputs[name] for name in outputs)
            (damaged if is_alone else others).append(path)
    return damaged, others


def _is_made_here(root: Path, model: str, place: Place) -> bool:
    """Returns whether the last training of the model here, or the stage `report`, has recorded the content of its file.

    A training writes its record also when it is run by hand. The gates' record lags behind dvc.lock like the model
    itself where another dvc.lock was checked out.
    """
    name, digests = PurePosixPath(model).parent.name, []
    with suppress(OSError, ValueError, LookupError):
        digests.append(read_sealed(root / TIMINGS / f"train@{name}.json")["sha256"])
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        digests.append(json.loads(place(root / GATES).read_bytes())["models"][name])
    try:
        with place(root / model).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() in digests
    except OSError:
        return False


def _is_cached(root: Path, md5: str) -> bool:
    """Returns whether DVC's cache has the content: a run or a commit has made it, such as that of another branch."""
    folders = (root.absolute(), *root.absolute().parents)
    return any((folder / CACHE / md5[:2] / md5[2:]).exists() for folder in folders)


def change_message(paths: Iterable[str | Path]) -> str:
    """Returns the sentence about outputs that dvc.lock records with another content, without what to do."""
    names = list(map(str, paths))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    are = "are not the files" if len(names) > 1 else "is not the file"
    reasons = "damaged, changed outside of a run, or of another commit"
    return f"{', '.join(names[:3])}{more} {are} that dvc.lock records: {reasons}"


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
