"""The temporary server of one run: `uvicorn --factory flows.prefect_server.temporary_server:create_app`.

It starts beside the run's first stages, on the cores that they want too. So it is Prefect's server without what only
workers and schedules need, which takes 4.5 s of a core instead of 7.5.
"""

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

APP = "flows.prefect_server.temporary_server:create_app"
# The services that look after schedules, workers and automations, as Prefect's settings name them.
NOT_NEEDED = (
    "CANCELLATION_CLEANUP",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)
SETTINGS = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in NOT_NEEDED}
COLLECTIONS = "prefect.collections"  # packages for workers and their kinds of blocks, which a server imports


def create_app() -> "ASGIApp":
    """Prefect's server for pages of its own origin."""
    from importlib.metadata import entry_points  # late: the module is read by every run, the server's code by one

    gc.disable()  # thousands of modules are made, and all stay
    for collection in entry_points(group=COLLECTIONS):
        sys.modules[collection.module] = None  # type: ignore[assignment]  # Python's documented way to forbid an import
    from flows.prefect_server import same_origin  # imports Prefect

    app = same_origin.create_app()
    gc.freeze()
    gc.enable()
    return app
