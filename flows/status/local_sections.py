"""Sections from files of the project: its data, its gates, its runs on this machine, its disk."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.core.alarms import RECORDS, read_alarms
from flows.core.commit import file_sha256
from flows.core.file_lock import is_run_locked
from flows.core.gates import RECORD, count_statuses, failed_gates
from flows.core.notices import note_once
from flows.core.project import CLONES
from flows.core.values import counted
from flows.engine.display.styles import rough_duration
from flows.engine.output_backup import has_backups
from flows.engine.processes.files_in_use import LIST as FILES_IN_USE
from flows.engine.processes.files_in_use import read_uses
from flows.engine.processes.process_trees import lives
from flows.status.parts import Need, Section
from stages.base.digests import REMEDY, change_message, changed_outputs
from stages.base.files import parse_json

DESCRIPTION = Path("data/raw/dataset.json")
FULL = 0.95  # share of a disk that is used
RESERVE = 2_000_000_000  # bytes: above it a nearly full disk still takes a run


def data_section(root: Path, now: datetime) -> Section | None:
    """The data set in the workspace: its name, the digest of its arrays, and since when it lies there."""
    path = root / DESCRIPTION
    is_changed = _note_change(root, DESCRIPTION)
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
        digests = {name: array["sha256"] for name, array in sorted(description["arrays"].items())}
        name = str(description["name"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return _unreadable("data", DESCRIPTION) if is_changed else None
    digest = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    facts = {"name": name, "digest": digest, "arrays": digests, "since": since.isoformat(timespec="seconds")}
    return Section("data", (f"{name} {digest[:10]}, here for {rough_duration((now - since).total_seconds())}",), facts)


def gates_section(root: Path) -> Section | None:
    """The gates of the present workspace, as the stage `report` recorded them."""
    is_changed = _note_change(root, RECORD)
    try:
        record = parse_json((root / RECORD).read_text(encoding="utf-8"))
        passed, failed, counts = record["passed"], failed_gates(record), count_statuses(record)
        other = [name for name, digest in record["models"].items() if _is_other(root, name, digest)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return _unreadable("gates", RECORD) if is_changed else None
    numbers = ", ".join(f"{number} {status}" for status, number in counts.items() if number) or "none is set"
    facts = {"passed": passed, "counts": counts, "failed": failed, "outdated": other}
    if other:
        line = f"of earlier models ({', '.join(other[:3])} changed since): `inkflow run report`"
        return Section("gates", (line,), facts)
    if not failed:
        return Section("gates", (numbers,), facts)
    what = f"{counted(len(failed), 'gate')} failed: {failed[0]}"
    need = Need(what, "`inkflow check` lists them; `inkflow report --open`")
    return Section("gates", (numbers, *failed), facts, (need,))


def alarms_section(root: Path, now: datetime) -> Section | None:
    """The alarms of watched models that stand; None if nothing was ever watched here."""
    if not (root / RECORDS).is_dir():
        return None
    lines, needs = [], []
    alarms, damaged = read_alarms(root)
    for name in (path.relative_to(root) for path in damaged):
        lines.append(f"not known of one model: {name} is damaged")
        needs.append(Need(f"{name} is damaged: the alarms of its model are not known", "move the file away"))
    for alarm in alarms:
        model = f"{alarm.model} {alarm.version}".rstrip()
        ago = rough_duration((now - datetime.fromisoformat(alarm.since)).total_seconds())
        lines.append(f"{model}: {alarm.statistic}, {ago} ago")
        command = f"inkflow monitor {alarm.model_sha256[:12]}"  # the name may be that of another model by now
        needs.append(Need(f"{model}: {alarm.sentence}", f"look at what it gets: `{command}`"))
    return Section("alarms", tuple(lines or ["none"]), [alarm._asdict() for alarm in alarms], tuple(needs))


def _note_change(root: Path, output: Path) -> bool:
    """Returns whether dvc.lock records the output with another content, and prints a note about it."""
    damaged, others = ([], []) if has_backups(root) else changed_outputs(root, str(output).__eq__)
    if changed := damaged + others:
        note_once(f"{change_message(changed)}; {REMEDY}")
    return bool(changed)


def _unreadable(subject: str, output: Path) -> Section:
    need = Need(f"{output} cannot be read, and is not the file that dvc.lock records", "`inkflow run` restores it")
    return Section(subject, (f"not known: {output} is damaged",), None, (need,))


def _is_other(root: Path, model: str, digest: str) -> bool:
    path = root / "models" / model / "model.onnx"
    return path.is_file() and file_sha256(path) != digest


def local_runs(root: Path) -> list[str]:
    """Returns a line for each process that runs stages of this project, and for a run that is under way in it."""
    writers: dict[tuple[int, str], list[str]] = {}
    uses, written_s = read_uses(root / FILES_IN_USE, "write")
    for use in uses:
        writers.setdefault((use.pid, use.command), []).append(Path(use.path).name)
    lines = [
        f"process {pid} writes {', '.join(sorted(names)[:3])}{' and more' if len(names) > 3 else ''}"
        for (pid, command), names in sorted(writers.items())
        if lives(pid, written_s, command)
    ]
    if not lines and is_run_locked(root):
        lines = ["a run is under way in this folder"]
    return [*lines, *(["a sweep, or a run in a clone, is under way"] if is_run_locked(root / CLONES) else [])]


def disk_section(root: Path) -> Section | None:
    """The room on the disk of DVC's cache; counting a large cache would take too long."""
    cache = next((path for path in (root / ".dvc/cache", root) if path.exists()), root)
    try:
        usage = shutil.disk_usage(cache)
    except OSError:
        return None
    line = f"{_size(usage.free)} free of {_size(usage.total)}, where the project lies"
    is_full = usage.used > FULL * (usage.used + usage.free) and usage.free < RESERVE  # without what is kept for root
    needs = [Need(f"the disk is full: {_size(usage.free)} free", "`inkflow prune --older-than 30d --dry-run`")]
    facts: Any = {"free_bytes": usage.free, "total_bytes": usage.total}
    return Section("disk", (line,), facts, tuple(needs if is_full else []))


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
