"""The server of `inkflow up` with a count of its requests, as an app of uvicorn.

`GET /requests` gives the number of requests by method and path, with `{id}` in the place of ids and names.
"""

import json
import re
from collections import Counter

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.prefect_server import same_origin

PATH = "/requests"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/work_pools/)(?!filter)[\w-]+|(?<=/name/)[^/]+(?:/[^/]+)?")


class CountingMiddleware:
    """Counts the HTTP requests and web sockets that it passes on to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers that for the counts."""
        if scope["type"] == "http" and scope["path"] == PATH:
            await PlainTextResponse(json.dumps(self._counts))(scope, receive, send)
            return
        if scope["type"] in ("http", "websocket"):
            self._counts[f"{scope.get('method', 'socket')} {ID.sub('{id}', scope['path'])}"] += 1
        await self._app(scope, receive, send)


def create_app() -> ASGIApp:
    """Returns the server behind the counter."""
    return CountingMiddleware(same_origin.create_app())
