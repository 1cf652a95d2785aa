"""The work of `inkflow monitor`: finds the records of watched models, shows them, and records decisions."""

import getpass
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.base.errors import EXIT_DONE, DataError, InvalidInput
from stages.base.files import exists, replacing, write_text
from stages.base.shown_text import remove_controls, shown_text
from stages.base.streams import takes_ascii_only
from stages.monitor.table import print_record
from stages.predict.classifier import open_classifier
from stages.predict.model_files import find_model
from stages.predict.model_standing import file_sha256
from stages.predict.watcher import reference_of
from stages.watch.record import (
    MEASURED_IMAGES,
    Record,
    locked,
    read_record,
    record_path,
    watch_folder,
    write_record,
)
from stages.watch.sentences import acknowledged, title, values
from stages.watch.update import acknowledge, reset

EXIT_ALARM = 3  # an alarm stands: as of `inkflow plan --exit-code`, something is to be done
RECORDS = "[!.]*.json"  # not the temporary file of a process that was killed
SHA = re.compile(r"[0-9a-f]{7,64}")
PICTURES = (".svg", ".png")
MAX_REASON = 1000  # characters


def show(model: str | None, *, as_json: bool = False, picture: Path | None = None) -> int:
    """Prints the records of `model`, or of all models, and draws a picture of one; returns the exit code.

    A record of several that cannot be read is told, and is an error after the others are shown.

    Raises:
        InvalidInput: there is no such model, it has no reference, nothing was seen yet, or the picture is unclear.
        OutputError: the picture cannot be written.
    """
    records, damaged = _find(model), _all(watch_folder())[1] if model is None else []
    if picture is not None:
        _draw(_only(records, "--picture"), picture)
    if as_json:
        print(
            json.dumps({"models": [_as_json(record) for record in records]}, indent=2, ensure_ascii=takes_ascii_only())
        )
    else:
        for record in records:
            print_record(record)
    for error in damaged:
        print(f"error: {shown_text(str(error))}", file=sys.stderr)
    if damaged:
        return InvalidInput.exit_code
    return EXIT_ALARM if any(record.alarms for record in records) else EXIT_DONE


def decide(model: str | None, accepted: str | None, repaired: str | None) -> int:
    """Records a decision about the alarms of `model`: the reason why they are `accepted`, or the source `repaired`.

    Raises:
        InvalidInput: there is no such model, no alarm stands, or the reason is empty.
        OutputError: the record cannot be written.
    """
    option = "--reset" if accepted is None else "--acknowledge"
    reason = remove_controls((accepted or repaired or "").strip())[:MAX_REASON]
    if not reason:
        raise InvalidInput(f"{option}: got an empty reason; say why, for those who ask later")
    folder, now = watch_folder(), datetime.now(UTC).isoformat(timespec="seconds")
    if model is None and (damaged := _all(folder)[1]):
        raise damaged[0]
    chosen = _only(_find(model), option)
    with locked(folder, chosen.model_sha256):
        record = read_record(record_path(folder, chosen.model_sha256)) or chosen
        alarms = len(record.alarms)
        if not alarms and accepted is not None:
            raise InvalidInput(f"{record.model}: no alarm stands, so there is nothing to acknowledge")
        if accepted is not None:
            measured = acknowledge(record, reason, _user(), now)
        else:
            reset(record, reason, _user(), now)
        write_record(folder, record)
    done = "ended: the watch begins anew"
    if accepted is not None:
        names = ", ".join(map(title, measured)) or "none of the statistics that are compared now"
        done = f"acknowledged: what the next {MEASURED_IMAGES} images show is expected from then on, of {names}"
    print(f"{record.model}: {alarms} alarm{'s' * (alarms != 1)} {done}")
    return EXIT_DONE


def _find(model: str | None) -> list[Record]:
    """Returns the record of `model`, or all records.

    Raises:
        InvalidInput: there is none; the message says why.
    """
    folder = watch_folder()
    if model is None:
        records, damaged = _all(folder)
        if not records and damaged:
            raise damaged[0]
        if not records:
            raise InvalidInput("no model was watched yet; `inkflow serve MODEL` and the flow `score` begin to watch")
        return records
    if not exists(model) and SHA.fullmatch(model):
        found = [record for path in sorted(folder.glob(f"{model}*.json")) if (record := read_record(path))]
        if found:
            return found
    earlier = [record for record in _all(folder)[0] if record.model == model]
    try:
        path = find_model(model)
    except InvalidInput:  # a model that is gone: its alarms stand
        if earlier:
            return earlier
        raise
    digest = file_sha256(path)
    if record := read_record(record_path(folder, digest)):
        return [record]
    if earlier:
        message = f"{model}: nothing was seen of this model yet (SHA-256 {digest[:12]}), but of earlier ones"
        print(message, file=sys.stderr)
        return earlier
    reference_of(open_classifier(path))
    raise InvalidInput(
        f"{model}: nothing was seen of this model yet (SHA-256 {digest[:12]}); `inkflow serve` and the flow `score` "
        "watch what they are asked"
    )


def _all(folder: Path) -> tuple[list[Record], list[DataError]]:
    """Returns the records in `folder`, and what is the matter with those that cannot be read."""
    records, damaged = [], []
    for path in sorted(folder.glob(RECORDS)):
        try:
            record = read_record(path)
        except DataError as error:
            damaged.append(error)
        else:
            records += [record] if record else []
    return sorted(records, key=lambda record: (record.model, record.first)), damaged


def _only(records: Sequence[Record], option: str) -> Record:
    if len(records) > 1:
        names = ", ".join(f"{record.model} ({record.model_sha256[:12]})" for record in records)
        raise InvalidInput(f"{option}: {len(records)} models are watched; name one: {names}")
    return records[0]


def _draw(record: Record, path: Path) -> None:
    if path.suffix.lower() not in PICTURES:
        raise InvalidInput(f"--picture {path}: expected a name that ends in {' or '.join(PICTURES)}")
    from stages.charts import vega  # late: needs half a second, and only pictures need it
    from stages.monitor.picture import picture

    if path.suffix.lower() == ".svg":
        write_text(path, vega.svg(picture(record)))
    else:
        with replacing(path) as temporary:
            temporary.write_bytes(vega.png(picture(record)))


def _as_json(record: Record) -> dict[str, Any]:
    content = record.model_dump(mode="json", exclude={"comparisons"})
    statistics = []
    for item in record.comparisons:
        reference, seen = values(item)
        facts: dict[str, Any] = {"name": item.name, "title": title(item.name), "reference": reference, "seen": seen}
        numbers: dict[str, Any] = {"evidence": 10 ** min(item.evidence, 300.0), "limit": 10**item.limit}
        alarm = next((alarm.since for alarm in record.alarms if alarm.statistic == item.name), None)
        statistics.append(facts | numbers | {"alarm_since": alarm, "acknowledged": acknowledged(item)})
    return content | {"healthy": not record.alarms, "statistics": statistics}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in containers
        return "unknown"
