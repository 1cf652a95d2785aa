"""Cron schedules of Prefect's server, which `inkflow up` makes work on each version of Python."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

from flows.prefect_server.cron_time_zones import use_standard_time_zones


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("0 2 * * *", "UTC", ["2026-03-28T02:00", "2026-03-29T02:00", "2026-03-30T02:00"]),
        ("0 2 * * *", None, ["2026-03-28T02:00", "2026-03-29T02:00", "2026-03-30T02:00"]),
        ("30 2 * * *", "Europe/Berlin", ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"]),  # summer time
        ("*/30 * * * *", "UTC", ["2026-03-28T00:00", "2026-03-28T00:30", "2026-03-28T01:00"]),
    ],
)
def test_cron_schedule_has_dates(cron: str, zone: str | None, expected: list[str]) -> None:
    """A cron schedule gives its next dates in any time zone, also when the zone's clocks change."""
    use_standard_time_zones()
    use_standard_time_zones()  # a second call changes nothing
    start = datetime(2026, 3, 28, tzinfo=ZoneInfo("UTC"))
    dates = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(3, start=start))
    assert [date.astimezone(UTC).isoformat()[:16] for date in dates] == expected
