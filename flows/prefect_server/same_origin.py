"""Prefect's server for this machine's own pages alone: `uvicorn --factory flows.prefect_server.same_origin:create_app`.

Without a password whoever reaches the server may start runs, and every page that a person has open reaches loopback.
CORS does not hold such a page back: Prefect takes JSON that is not called JSON, for which no permission is asked, and
web sockets ask for none. A browser says where a page is from, though, and no other client says anything.
"""

import os
from collections.abc import Set as AbstractSet

from prefect.server.api.server import create_app as prefects
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.prefect_server.environment import ORIGINS, PASSWORD

POLICY_VIOLATION = 1008  # a code of web sockets


class OwnOrigin:
    """Refuses what pages of other origins ask."""

    def __init__(self, app: ASGIApp, origins: AbstractSet[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        origin = Headers(scope=scope).get("origin") if scope["type"] in ("http", "websocket") else None
        if origin is None or origin in self._origins:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await PlainTextResponse("pages of other origins are refused", 403)(scope, receive, send)


def create_app() -> ASGIApp:
    """Prefect's server; with a password, which no other page knows, as it is."""
    app = prefects()
    return app if os.environ.get(PASSWORD) else OwnOrigin(app, frozenset(os.environ[ORIGINS].split(",")))
