"""Makes cron schedules work in Prefect's server on Python 3.11 and 3.12.

There Prefect 3.9 passes times with pendulum's zones to the package whenever, which accepts zones of the standard
library alone: the scheduler logs `Error scheduling deployment`, and creates no run of any cron schedule.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from prefect.server.schemas import schedules

CONVERSION = "_whenever_zdt_from_py"  # the function of Prefect that creates whenever's times


def use_standard_time_zones() -> None:
    """Makes the schedules of this process use the time zones of the standard library; call it before the app exists."""
    convert = getattr(schedules, CONVERSION, None)  # another version of Prefect may not have the function
    if convert is None or getattr(convert, "is_ours", False):
        return

    def convert_standard(time: datetime) -> Any:
        key = getattr(time.tzinfo, "key", None)
        return convert(time.replace(tzinfo=ZoneInfo(key)) if key else time)

    convert_standard.is_ours = True  # type: ignore[attr-defined]  # so that a second call does not wrap it again
    setattr(schedules, CONVERSION, convert_standard)
