"""The file of a watched model, `.inkflow/watch/SHA-256.json`: counts, evidence, alarms and decisions, and no image.

Several processes may write it: each holds a lock while it reads the file, adds what it has seen, and moves the new file
into place.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from stages.base.digests import sealed, unsealed
from stages.base.errors import DataError, OutputError
from stages.base.files import exclusive_lock, project_folder, read_json, write_ignore_files, write_text
from stages.watch.comparisons import CLASSES, UNSURE
from stages.watch.evidence import FRACTIONS

FOLDER = Path(".inkflow/watch")  # of the project
REMEDY = "move the file away: the watch then begins anew"
MEASURED_IMAGES = 500  # after an acknowledgement: they show what is expected from then on
TIMES = ("since", "began", "when", "until", "first", "last")  # keys with a time in ISO 8601, with its zone
LARGEST = 1e15  # of all numbers but edges: sums and powers of them are finite
MAX_LIMIT = 300.0  # power of ten


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Measurement(_Part):
    """The images since an acknowledgement, up to MEASURED_IMAGES, and the sum of their scores."""

    images: int = 0
    total: float = 0.0


class TestRecord(_Part):
    """One test: its bets (see `evidence.Bets`), and the bound that a person accepted in place of the reference's.

    While an acknowledged change is measured, the test raises no alarm.
    """

    label: str
    wealth: list[float]
    run: list[float]
    seen: list[float]
    total: list[float]
    since: list[str]
    accepted: float | None = None
    measuring: Measurement | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_all_runs(cls, content: Any) -> Any:
        """Reads a test of an earlier version, which had one run: all bets get it, and no wealth above its gain."""
        if not isinstance(content, dict) or not isinstance(run := content.get("run"), int | float):
            return content
        runs = {name: [content.get(name)] * len(FRACTIONS) for name in ("run", "seen", "total", "since")}
        wealth = content.get("wealth")
        if isinstance(wealth, list) and all(isinstance(value, int | float) for value in wealth):
            runs["wealth"] = [min(value, run) for value in wealth]
        return content | runs


class ComparisonRecord(_Part):
    """One statistic.

    `recent` has the images in each bin, those of long ago with less weight; evidence and limit are powers of ten.
    """

    name: str
    bins: list[str]
    edges: list[float]
    reference: list[int]
    recent: list[float]
    tests: list[TestRecord]
    evidence: float
    limit: float


class Alarm(_Part):
    """An alarm that stands until a person decides about it."""

    id: str
    statistic: str
    sentence: str
    since: str
    began: str  # about when the change began
    images: int  # seen until the alarm, since the last decision


class Decision(_Part):
    """What a person decided about the alarms that stood."""

    action: Literal["acknowledge", "reset"]
    reason: str
    who: str
    when: str
    alarms: list[str]


class Point(_Part):
    """The evidence at one time, as powers of ten, by statistic."""

    until: str
    images: int
    evidence: dict[str, float]


class Record(_Part):
    """What is known of a watched model; `images` counts those since the last decision."""

    format: Literal[1] = 1
    model_sha256: str
    model: str
    version: str = ""
    commit: str = ""
    rate: float
    first: str
    last: str
    images: int = 0
    all_images: int = 0
    comparisons: list[ComparisonRecord] = []
    alarms: list[Alarm] = []
    decisions: list[Decision] = []
    history: list[Point] = []

    @model_validator(mode="before")
    @classmethod
    def _undamaged(cls, content: Any) -> Any:
        return unsealed(content) if isinstance(content, dict) else content

    @model_validator(mode="after")
    def _usable(self) -> Self:
        _check_values(self.model_dump(), "the record")
        for item in self.comparisons:
            _check_lengths(item)
        return self


def _check_values(value: Any, name: str) -> None:
    """Raises a ValueError if a time has no zone, a number is too large, or a whole number is below 0."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(item, key)
    elif isinstance(value, list):
        for item in value:
            _check_values(item, name)
    elif isinstance(value, int | float):
        smallest = 0 if isinstance(value, int) else -LARGEST
        if name != "edges" and not smallest <= value <= LARGEST:
            raise ValueError(f"{name} is out of range")
    elif isinstance(value, str) and name in TIMES and datetime.fromisoformat(value).tzinfo is None:
        raise ValueError(f"{name} is a time without its zone")


def _check_lengths(item: ComparisonRecord) -> None:
    """Raises a ValueError if the parts of a comparison do not fit each other."""
    bins = len(item.bins) if item.name in (CLASSES, UNSURE) else len(item.edges) + 1
    if not (len(item.reference) == len(item.recent) == bins == len(item.bins or item.reference)):
        raise ValueError(f"{item.name} has other bins than its reference")
    if not sum(item.reference) or (item.name == UNSURE and bins < 2):
        raise ValueError(f"{item.name} has nothing to be compared with")
    bets = [part for test in item.tests for part in (test.wealth, test.run, test.seen, test.total, test.since)]
    if not bets or any(len(part) != len(FRACTIONS) for part in bets):
        raise ValueError(f"{item.name} has no tests, or tests with other bets")
    if not 0 <= item.limit <= MAX_LIMIT:
        raise ValueError(f"{item.name} has the limit {item.limit:g}, a power of ten")


def watch_folder() -> Path:
    """Returns FOLDER in the project around the current folder, else in the current folder itself."""
    return project_folder() / FOLDER


def record_path(folder: Path, model_sha256: str) -> Path:
    """Returns the file of a model."""
    return folder / f"{model_sha256}.json"


def read_record(path: Path) -> Record | None:
    """Returns the record in the file `path`; None if there is no such file.

    Raises:
        DataError: the file is no such record.
    """
    if not path.exists():
        return None
    record = read_json(path, Record, REMEDY)
    if record.model_sha256 != path.stem:
        raise DataError(f"{path}: is the record of another model, {record.model_sha256}; {REMEDY}")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Writes the record to its file, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    content = sealed(json.loads(record.model_dump_json()))
    write_text(record_path(folder, record.model_sha256), json.dumps(content, indent=1) + "\n")


@contextmanager
def locked(folder: Path, model_sha256: str) -> Iterator[None]:
    """Holds the lock of a model's record; the system releases it if the process dies.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_ignore_files(folder)
    except OSError as error:
        raise OutputError(folder, error) from error
    with exclusive_lock(folder / f"{model_sha256}.lock", folder):
        yield
