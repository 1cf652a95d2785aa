"""Records of the runs on this machine, in untracked files: what `inkflow report --runs` shows beside Git and DVC.

.inkflow/runs/ID.jsonl          a line of JSON for each event: begin, started, ended, failed, replaced, end
.inkflow/runs/ID/STAGE.log      the last lines of a stage that failed

A line is appended at once, so a run that is killed leaves its events; it has no `end`. A run in which nothing runs, is
restored or fails leaves no file. A run must not fail because of its record.
"""

import errno
import json
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from flows.core.commit import file_sha256
from flows.core.errors import GitFailed, Interrupted
from flows.core.git import head_commit
from flows.core.notices import note_once
from flows.core.progress import killed_by
from flows.core.redaction import mask
from flows.engine.processes.process_trees import started_s
from flows.engine.stamps import next_stamp
from flows.engine.types import Lineage, Outcome, Result, Stage, file_name, split_address
from stages.base.digests import sealed, unsealed
from stages.base.errors import InkflowError
from stages.base.files import remove_abandoned, write_text

FOLDER = Path(".inkflow/runs")
RECORDS = "[!.]*.jsonl"  # without those that are being copied
STAMP = "%Y%m%dT%H%M%S"  # the beginning of a name, in UTC
MAX_RECORDS = 1000  # older ones are removed
MAX_LINES = 1000  # of a failed stage
MAX_PARAMS = 200_000  # bytes of params.yaml
NAMES = ("trial", "experiment")  # events that name a run
LISTS = ("stages", "reasons", "not_run", "lines")  # keys of events
END_OF_TIME = 250_000_000_000  # seconds since the epoch: dates end with the year 9999


class RunRecord:
    """The record of one run. Its methods may be called in several threads."""

    def __init__(self, root: Path, targets: Sequence[str]) -> None:
        self._root, self._targets = root, list(targets)
        started = time.time()
        names = [path.name for path in (root / FOLDER).glob(RECORDS)]
        stamp = next_stamp(STAMP, time.strftime(STAMP, time.gmtime(started)), names)
        self._path = root / FOLDER / f"{stamp}-{os.getpid()}-{time.monotonic_ns() % 10**6:06d}.jsonl"
        process = {"pid": os.getpid(), "process": started_s(os.getpid())}
        self._begin: dict[str, Any] | None = {"event": "begin", "at": started, **process}
        self._lock = threading.Lock()
        self._stages: Sequence[Stage] = ()
        self._lines: dict[str, deque[str]] = {}

    def begin(self, stages: Sequence[Stage]) -> None:
        """Keeps the stages of the run; the file is written with the first event."""
        self._stages = stages

    def started(self, stage: str) -> None:
        """Adds that the command of `stage` starts."""
        self._lines[stage] = deque(maxlen=MAX_LINES)
        self._add("started", stage=stage)

    def line(self, stage: str, text: str) -> None:
        """Keeps a line that `stage` printed, for its log if it fails."""
        lines = self._lines.get(stage)
        if lines is not None:
            lines.append(text)

    def ended(self, result: Result, lineage: Lineage | None) -> None:
        """Adds how `result.stage` was brought up to date; `lineage` if it ran."""
        self._lines.pop(result.stage, None)
        if result.outcome is Outcome.UNCHANGED:
            return
        outputs, inputs = (
            {content.path: content.hash for content in part}
            for part in ((lineage.outputs, lineage.dependencies) if lineage else ((), ()))
        )
        self._add(
            "ended",
            stage=result.stage,
            outcome=result.outcome.name.lower(),
            reasons=list(result.reasons),
            location=result.location,
            outputs=outputs,
            inputs=inputs,
        )

    def failed(self, stage: str, error: InkflowError, not_run: Iterable[str]) -> None:
        """Adds that `stage` failed, and which stages do not run because of it; writes its last lines to a log."""
        lines = [mask(line) for line in list(self._lines.pop(stage, ()))]
        log = self._path.with_suffix("") / f"{file_name(stage)}.log"
        if lines:
            with suppress(OSError):
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
        self._add(
            "failed",
            stage=stage,
            error=mask(str(error)),
            interrupted=isinstance(error, Interrupted),
            killed=killed_by(getattr(error, "code", 0)) is not None,
            lines=lines[-20:],
            log=str(FOLDER / self._path.stem / log.name) if lines else "",
            not_run=list(not_run),
        )

    def end(self) -> None:
        """Adds the end of the run, with the digest of each dvc.lock."""
        if self._begin is None:
            files = {Path(split_address(stage.name)[0] or "dvc.yaml") for stage in self._stages}
            paths = sorted(str(file.with_name("dvc.lock")) for file in files)
            locks = {}
            for path in paths:
                with suppress(OSError):
                    locks[path] = file_sha256(self._root / path)
            self._add("end", locks=locks)

    def replaced(self) -> None:
        """Adds that another run, with other data, takes the place of this one, whose failure is none then."""
        if self._begin is None:
            self._add("replaced")

    def _add(self, event: str, **content: Any) -> None:
        """Appends an event; before the first one, the beginning of the run."""
        events = [{"event": event, "at": time.time(), **content}]
        try:
            with self._lock:  # a stage starts in a thread of its own
                if self._begin is not None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    _remove_old(self._path.parent)
                    events.insert(0, self._begin | self._facts())
                _append(self._path, "".join(_line(item) for item in events).encode(errors="replace"))
                self._begin = None
        except Exception as error:  # noqa: BLE001 - a run must not fail because of its record
            note_once(f"this run is not recorded for `inkflow report --runs`: {error}")

    def _facts(self) -> dict[str, Any]:
        """Returns what the run is of: targets, commit and parameters."""
        facts: dict[str, Any] = {"targets": self._targets, "stages": [stage.name for stage in self._stages]}
        with suppress(GitFailed):
            facts["commit"] = head_commit(self._root)
        with suppress(OSError, UnicodeError):
            content = (self._root / "params.yaml").read_bytes()
            if len(content) <= MAX_PARAMS:
                facts["params"] = mask(content.decode())
        return facts


def _append(path: Path, content: bytes) -> None:
    """Appends `content` as a whole: of one that only a part has room for, nothing stays.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        if file.write(content) < len(content):  # a full disk: the next event would go on in the middle of this line
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def adopt_records(clone: Path, root: Path, trial: str = "", experiment: str = "") -> None:
    """Copies the records in a clone to the project at `root`.

    Args:
        clone: the clone.
        root: the project.
        trial: name of the trial that ran there, which also one that failed has; empty if it was none.
        experiment: name of the experiment that has its result; empty if there is none.
    """
    names = {"trial": trial, "experiment": experiment}
    lines = "".join(_line({"event": kind, "name": name}) for kind, name in names.items() if name)
    for path in sorted((clone / FOLDER).glob(RECORDS)):
        with suppress(OSError, InkflowError):
            _remove_old(root / FOLDER)
            if path.with_suffix("").is_dir():
                shutil.copytree(path.with_suffix(""), root / FOLDER / path.stem, dirs_exist_ok=True)
            write_text(root / FOLDER / path.name, path.read_text(encoding="utf-8", errors="replace") + lines)


@contextmanager
def kept_records(clone: Path, root: Path) -> Iterator[None]:
    """Copies the records of the runs in a clone, which is removed afterwards, to the project at `root`."""
    try:
        yield
    finally:
        adopt_records(clone, root)


def read_records(root: Path) -> list[dict[str, Any]]:
    """Returns the records below `root`, the oldest first.

    Each has `id`, the begin's keys, `trial`, `experiment`, `events` and `state`. The state is `done` (also if another
    run replaced it), `failed`, `stopped` (interrupted by a person), `killed` or `running`. Damaged lines are left out.
    """
    records = []
    for path in sorted((root / FOLDER).glob(RECORDS)):
        events = list(_events(path))
        if events and events[0]["event"] == "begin":
            begin = {key: value for key, value in events[0].items() if key != "event"}
            names = {
                event["event"]: str(event["name"]) for event in events if event["event"] in NAMES and "name" in event
            }
            experiment, events = names.get("experiment", ""), events[1:]
            own = {"id": path.stem, "experiment": experiment, "trial": names.get("trial", experiment)}
            records.append(begin | own | {"events": events, "state": _state(begin, events)})
    return sorted(records, key=lambda record: float(record["at"]))


def _events(path: Path) -> Iterable[dict[str, Any]]:
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                event = _checked(unsealed(json.loads(line)))
            except (ValueError, RecursionError):
                note_once(f"{FOLDER / path.name} has damaged lines, which are left out")
                continue
            yield event


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    """Returns an event whose time is one and whose lists are lists of texts; raises a ValueError about another one."""
    kind = event.get("event")
    at = event.get("at", 0 if kind in NAMES else None)
    lists = [event.get(key, []) for key in LISTS]
    is_timed = isinstance(at, int | float) and 0 <= at < END_OF_TIME
    if not (isinstance(kind, str) and is_timed and all(isinstance(items, list) for items in lists)):
        raise ValueError("no event of a run")
    if not all(isinstance(item, str) for items in lists for item in items):
        raise ValueError("lists of other things than texts")
    return event


def _line(event: dict[str, Any]) -> str:
    """Returns the line of an event, with a digest of it."""
    plain = json.loads(json.dumps(event, default=str))
    return json.dumps(sealed(plain)) + "\n"


def _state(begin: dict[str, Any], events: Sequence[dict[str, Any]]) -> str:
    if any(event["event"] == "replaced" for event in events):
        return "done"
    failures = [event for event in events if event["event"] == "failed"]
    if failures:
        if all(event.get("interrupted") for event in failures):
            return "stopped"
        return "killed" if any(event.get("killed") for event in failures) else "failed"
    if any(event["event"] == "end" for event in events):
        return "done"
    return "running" if _is_alive(begin) else "killed"


def _is_alive(begin: dict[str, Any]) -> bool:
    """Returns whether the process that began a record still runs; `process` tells it from a later one with its id."""
    with suppress(psutil.Error, TypeError, ValueError, KeyError, OverflowError):
        return started_s(int(begin["pid"])) == str(begin["process"])
    return False


def _remove_old(folder: Path) -> None:
    """Removes the oldest records, so that there is room for one more, and what killed processes left of copies."""
    remove_abandoned(folder)
    names = sorted(path.stem for path in folder.glob(RECORDS) if re.match(r"\d{8}T\d{6}-", path.name))
    for name in names[: max(0, len(names) - MAX_RECORDS + 1)]:
        with suppress(OSError):
            (folder / f"{name}.jsonl").unlink()
        shutil.rmtree(folder / name, ignore_errors=True)
