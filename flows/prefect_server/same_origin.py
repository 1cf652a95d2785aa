"""Prefect's server, which refuses requests of web pages of other origins.

Started by `uvicorn --factory flows.prefect_server.same_origin:create_app`.

Without a password, everyone who reaches the server can start runs, and every open web page can reach loopback.
CORS does not stop such a page. Prefect accepts JSON under any content type, and a browser sends some content types
without asking for permission; it asks for none for web sockets either. But a browser sends the header Origin with
each such request, and other clients do not.
"""

import os
from collections.abc import Set as AbstractSet

from prefect.server.api.server import create_app as create_prefect_app
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.prefect_server.environment import ORIGINS, PASSWORD
from flows.prefect_server.sqlite_transactions import use_waiting_transactions

POLICY_VIOLATION = 1008  # close code of RFC 6455


class SameOriginMiddleware:
    """Refuses HTTP and web socket requests from pages of origins other than `origins`."""

    def __init__(self, app: ASGIApp, origins: AbstractSet[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on to the app, or refuses it."""
        origin = Headers(scope=scope).get("origin") if scope["type"] in ("http", "websocket") else None
        if origin is None or origin in self._origins:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await PlainTextResponse("pages of other origins are refused", 403)(scope, receive, send)


def create_app() -> ASGIApp:
    """Returns Prefect's server; without a password, it refuses pages of other origins.

    With a password no check is needed: other pages do not know it.
    """
    use_waiting_transactions()
    app = create_prefect_app()
    return app if os.environ.get(PASSWORD) else SameOriginMiddleware(app, frozenset(os.environ[ORIGINS].split(",")))
