"""Prefect's server, which refuses other host names, and requests of web pages of other origins.

Started by `uvicorn --factory flows.prefect_server.same_origin:create_app`.

The server of `inkflow up` has a password; the temporary one of a run has none, and every open web page can reach
loopback. CORS does not stop such a page. Prefect accepts JSON under any content type, and a browser sends some content
types without asking for permission; it asks for none for web sockets either. But a browser sends the header Origin with
each such request, and other clients do not. A page can also give its own name the address of this machine (DNS
rebinding), so that the origins agree: then the header Host has that name.
"""

import os
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from prefect.server.api.server import create_app as create_prefect_app
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.prefect_server.credentials import LOGIN_PAGE, LOGIN_PATH
from flows.prefect_server.cron_time_zones import use_standard_time_zones
from flows.prefect_server.environment import HOSTS, ORIGIN_HOSTS, ORIGINS
from flows.prefect_server.sqlite_transactions import use_waiting_transactions

POLICY_VIOLATION = 1008  # close code of RFC 6455
ANY_HOST = "*"


class SameOriginMiddleware:
    """Refuses HTTP and web socket requests to hosts other than `hosts`, and from pages of other origins.

    A page has the same origin if the request goes to its host, or if it is one of `origins`. Pages of `origin_hosts`
    may use the server too: a proxy of that name may send another one in the header Host.
    """

    def __init__(
        self, app: ASGIApp, origins: AbstractSet[str], hosts: AbstractSet[str], origin_hosts: AbstractSet[str]
    ) -> None:
        self._app, self._origins, self._hosts, self._origin_hosts = app, origins, hosts, origin_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on to the app, or refuses it."""
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else None
        if refusal is None and scope["type"] == "http" and scope["path"] == LOGIN_PATH:
            await HTMLResponse(LOGIN_PAGE)(scope, receive, send)
        elif refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await PlainTextResponse(refusal, 403)(scope, receive, send)

    def _refusal(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if ANY_HOST not in self._hosts and _host_name(host) not in self._hosts:
            return "this server is not used under this name; to allow it, add it to INKFLOW_HOSTS of `inkflow up`"
        if origin is None or origin in self._origins:
            return None
        page = origin.partition("://")[2]
        if page.lower() == host.lower() or _host_name(page) in self._origin_hosts:
            return None
        return "pages of other origins are refused; add the name of a proxy to INKFLOW_HOSTS of `inkflow up`"


def _host_name(host: str) -> str | None:
    """Returns the name in a header Host, without the port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def create_app() -> ASGIApp:
    """Returns Prefect's server behind the middleware."""
    use_waiting_transactions()
    use_standard_time_zones()
    origins = os.environ[ORIGINS].split(",")
    hosts = os.environ[HOSTS].split(",") if HOSTS in os.environ else [urlsplit(origin).hostname for origin in origins]
    named = os.environ.get(ORIGIN_HOSTS, "").split(",")
    return SameOriginMiddleware(
        create_prefect_app(), frozenset(origins), frozenset(filter(None, hosts)), frozenset(filter(None, named))
    )
