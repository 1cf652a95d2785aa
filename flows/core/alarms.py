"""The alarms of watched models that stand until a person decides about them: read from the records of the watch.

`stages.watch` writes the records, one JSON file for each model; docs/watching.md.
"""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from flows.core.project import STATE
from stages.base.digests import read_sealed

RECORDS = STATE / "watch"
DRIFT = "inkflow.drift"  # the event that an alarm sends


class Alarm(NamedTuple):
    """An alarm that stands.

    Attributes:
        id: the same as long as it stands.
        model: name of the model.
        version: in the registry; empty for a model that is not registered.
        model_sha256: of its ONNX file.
        statistic: what has changed, such as `ink`.
        sentence: what was seen and what was expected.
        since: when it was raised, in ISO 8601 (UTC).
    """

    id: str
    model: str
    version: str
    model_sha256: str
    statistic: str
    sentence: str
    since: str


def standing_alarms(root: Path) -> list[Alarm]:
    """Returns the alarms that stand in the project at `root`, oldest first; those of damaged records are not known."""
    return read_alarms(root)[0]


def read_alarms(root: Path) -> tuple[list[Alarm], list[Path]]:
    """Returns the alarms that stand in the project at `root`, oldest first, and the records that cannot be read."""
    found: list[Alarm] = []
    damaged = []
    for path in sorted((root / RECORDS).glob("[!.]*.json")):
        try:
            record = read_sealed(path)
            model = (str(record["model"]), str(record["version"]), str(record["model_sha256"]))
            alarms = []
            for item in record["alarms"]:
                since = str(item["since"])
                if datetime.fromisoformat(since).tzinfo is None:
                    raise ValueError("a time without its zone")
                alarms.append(Alarm(str(item["id"]), *model, str(item["statistic"]), str(item["sentence"]), since))
            found += alarms
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            damaged.append(path)
    return sorted(found, key=lambda alarm: (alarm.since, alarm.id)), damaged
