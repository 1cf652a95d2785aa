"""The alarms of watched models that stand until a person decides about them: read from the records of the watch.

`stages.watch` writes the records, one JSON file for each model; docs/watching.md.
"""

import json
from pathlib import Path
from typing import NamedTuple

from flows.core.project import STATE

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
    """Returns the alarms that stand in the project at `root`, oldest first; a record that cannot be read has none."""
    found = []
    for path in sorted((root / RECORDS).glob("[!.]*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            model = (str(record["model"]), str(record["version"]), str(record["model_sha256"]))
            for item in record["alarms"]:
                sentence = (str(item["statistic"]), str(item["sentence"]), str(item["since"]))
                found.append(Alarm(str(item["id"]), *model, *sentence))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda alarm: (alarm.since, alarm.id))
