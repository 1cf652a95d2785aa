"""The alarms of watched models in the status."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.core.alarms import RECORDS
from flows.status.local_sections import alarms_section

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ALARM = {
    "id": "a",
    "statistic": "ink",
    "sentence": "mean ink is 0.9, expected 0.13",
    "since": "2026-11-28T09:00:00+00:00",
}


def test_an_alarm_needs_a_person(tmp_path: Path) -> None:
    """Each alarm that stands is named with its model, its age and the command that shows it."""
    (tmp_path / RECORDS).mkdir(parents=True)
    record = {"model": "cnn", "version": "v1.0.0", "model_sha256": "0" * 64, "alarms": [ALARM]}
    (tmp_path / RECORDS / "one.json").write_text(json.dumps(record))
    section = alarms_section(tmp_path, NOW)
    assert section is not None
    assert section.lines == ("cnn v1.0.0: ink, 3 h ago",)
    (need,) = section.needs
    assert need.what == "cnn v1.0.0: mean ink is 0.9, expected 0.13"
    assert "`inkflow monitor 000000000000`" in need.do
    assert section.facts[0]["statistic"] == "ink"


@pytest.mark.parametrize("since", ["yesterday", "2026-11-28", "2026-11-28T09:00:00", None, 5])
def test_an_alarm_without_a_time_is_damage(tmp_path: Path, since: object) -> None:
    """A time that is none, or has no zone, makes the record a damaged one: none of its alarms are known."""
    (tmp_path / RECORDS).mkdir(parents=True)
    alarms = [ALARM, ALARM | {"since": since}]
    record = {"model": "cnn", "version": "v1.0.0", "model_sha256": "0" * 64, "alarms": alarms}
    (tmp_path / RECORDS / "one.json").write_text(json.dumps(record))
    section = alarms_section(tmp_path, NOW)
    assert section is not None
    assert section.lines == ("not known of one model: .inkflow/watch/one.json is damaged",)


def test_without_alarms_nobody_is_needed(tmp_path: Path) -> None:
    """A project that watches nothing has no such section; of a damaged record the alarms are not known."""
    assert alarms_section(tmp_path, NOW) is None
    (tmp_path / RECORDS).mkdir(parents=True)
    (tmp_path / RECORDS / "one.json").write_text("{")
    section = alarms_section(tmp_path, NOW)
    assert section is not None
    assert section.lines == ("not known of one model: .inkflow/watch/one.json is damaged",)
    assert [need.do for need in section.needs] == ["move the file away"]
