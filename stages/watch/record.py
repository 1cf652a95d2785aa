"""The file of a watched model, `.inkflow/watch/SHA-256.json`: counts, evidence, alarms and decisions, and no image.

Several processes may write it: each holds a lock while it reads the file, adds what it has seen, and moves the new file
into place.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from stages.base.digests import sealed, unsealed
from stages.base.errors import DataError, OutputError
from stages.base.files import read_json, write_text

FOLDER = Path(".inkflow/watch")  # of the project
REMEDY = "move the file away: the watch then begins anew"
IGNORE = "*\n"
MEASURED_IMAGES = 500  # after an acknowledgement: they show what is expected from then on


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


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
    run: float
    seen: float
    total: float
    since: str
    accepted: float | None = None
    measuring: Measurement | None = None


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


def watch_folder() -> Path:
    """Returns FOLDER in the project around the current folder, else in the current folder itself."""
    here = Path.cwd()
    root = next((parent for parent in (here, *here.parents) if (parent / ".dvc").is_dir()), here)
    return root / FOLDER


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
        for name in (".gitignore", ".dvcignore"):
            if not (folder / name).exists() or (folder / name).stat().st_size == 0:  # left empty by a full disk
                write_text(folder / name, IGNORE)
        file = os.open(folder / f"{model_sha256}.lock", os.O_RDONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(folder, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
