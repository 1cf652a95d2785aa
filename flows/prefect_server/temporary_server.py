"""The app of the temporary server of one run: `uvicorn --factory flows.prefect_server.temporary_server:create_app`.

The server starts beside the run's first stages, on the same cores. So it leaves out the parts of Prefect's server that
only workers and schedules need: its start takes 4.5 s of a core instead of 7.5 s.
"""

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

APP = "flows.prefect_server.temporary_server:create_app"
# Services for schedules, workers and automations, by their names in Prefect's settings.
DISABLED_SERVICES = (
    "CANCELLATION_CLEANUP",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)
SETTINGS = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in DISABLED_SERVICES}
COLLECTIONS = "prefect.collections"  # entry points of packages with workers and block types; a server imports them


def create_app() -> "ASGIApp":
    """Returns Prefect's server without Prefect's integration packages, for pages of its own origin."""
    from importlib.metadata import entry_points  # late: every run imports this module, only the server calls this

    gc.disable()  # the imports make thousands of objects, and all of them stay
    for collection in entry_points(group=COLLECTIONS):
        sys.modules[collection.module] = None  # type: ignore[assignment]  # Python's documented way to block an import
    from flows.prefect_server import same_origin  # late: imports Prefect, after the collections are blocked

    app = same_origin.create_app()
    gc.freeze()
    gc.enable()
    return app
