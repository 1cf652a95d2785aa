"""Checks of a Prefect server without the import of Prefect, which takes two seconds."""

import json
import os
import re
import ssl
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Literal

from flows.core.errors import ServerUnreachable
from flows.core.redaction import mask
from flows.prefect_server.environment import PROXIES, is_own
from stages.base.dvc_settings import expanded
from stages.base.shown_text import network_reason, shortened

TIMEOUT_S = 30.0  # a busy server responds late
MAX_ANSWER_BYTES = 1000  # more than a message quotes: a secret that this limit cut would not be masked
CLOUD = "https://api.prefect.cloud/"  # has no version
VERSION = re.compile(rb'"\d+\.\d+[^"]*"')


def configured_url() -> str | None:
    """Returns PREFECT_API_URL from the environment or from Prefect's active profile, None if neither sets it."""
    return _setting("PREFECT_API_URL")


def check_health(url: str) -> None:
    """Checks that a server responds at `url`.

    Raises:
        ServerUnreachable: The server does not respond.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({} if is_own(url) else None)]
    try:
        if url.startswith("https:"):
            context = _certificates() or ssl._create_unverified_context()  # as the user wants
            handlers.append(urllib.request.HTTPSHandler(context=context))
        with urllib.request.build_opener(*handlers).open(f"{url.rstrip('/')}/health", timeout=TIMEOUT_S):
            pass
    except urllib.error.HTTPError:
        pass  # the server responds
    except (OSError, ValueError, HTTPException) as error:
        raise ServerUnreachable(url, network_reason(error)) from error


def check_server(url: str) -> None:
    """Checks that a Prefect server accepts the requests of Prefect's client at `url`: it tells its version.

    Raises:
        ServerUnreachable: It does not respond in time, refuses the credentials, or is another kind of server.
    """
    import httpx  # late: a run with a temporary server needs it later

    try:
        status, answer = _ask(url)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:
        raise ServerUnreachable(url, f"{network_reason(error)}{_way(url)}") from error
    if status == httpx.codes.UNAUTHORIZED:
        raise ServerUnreachable(url, f"it refuses the login (status {status}); set PREFECT_API_AUTH_STRING or _API_KEY")
    if status == httpx.codes.FORBIDDEN:  # of `inkflow up` under another name, of a proxy, or of a key without the right
        reason = shortened(" ".join(mask(answer.decode(errors="ignore")).split())) or "it gives no reason"
        raise ServerUnreachable(url, f"it refuses the request (status {status}): {reason}{_way(url)}")
    if status != httpx.codes.OK or not (VERSION.fullmatch(answer) or url.startswith(CLOUD)):
        raise ServerUnreachable(
            url, f"got status {status} and no version, expected Prefect's API, whose address ends in /api{_way(url)}"
        )


def _ask(url: str) -> tuple[int, bytes]:
    """Returns status and first bytes of the server's answer to a request for its version."""
    import httpx  # late, as above

    deadline = time.monotonic() + TIMEOUT_S
    options = login_options(url)
    with httpx.Client(timeout=TIMEOUT_S, trust_env=not is_own(url), follow_redirects=True, **options) as client:
        path = "health" if url.startswith(CLOUD) else "admin/version"
        with client.stream("GET", f"{url.rstrip('/')}/{path}") as response:
            answer = b""
            for part in response.iter_bytes(1):  # larger parts are waited for, beyond the deadline
                answer += part
                if len(answer) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                    break
    return response.status_code, answer


def login_options(url: str) -> dict[str, Any]:
    """Returns the options of an httpx client that log in to the server at `url` as Prefect's own client does.

    Raises:
        OSError: The file with the certificates cannot be read; the message names the variable.
        ValueError: The custom headers are not JSON.
    """
    headers: dict[str, str] = json.loads(_setting("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}")
    if key := _setting("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    name, _, password = (_setting("PREFECT_API_AUTH_STRING") or "").partition(":")
    options: dict[str, Any] = {"headers": headers} | ({"auth": (name, password)} if name else {})
    return options | ({"verify": _certificates()} if url.startswith("https:") else {})


def _certificates() -> ssl.SSLContext | Literal[False]:
    """Returns what Prefect's client verifies a server with; False if the user switched that off.

    Raises:
        OSError: The file with the certificates cannot be read; the message names the variable.
    """
    if (_setting("PREFECT_API_TLS_INSECURE_SKIP_VERIFY") or "").lower() in ("1", "true", "yes", "on"):
        return False
    for name in ("PREFECT_API_SSL_CERT_FILE", "SSL_CERT_FILE"):
        if path := _setting(name):
            try:
                return ssl.create_default_context(cafile=path)
            except OSError as error:
                raise OSError(f"{name}={path}: {error.strerror or error}") from error
    import certifi  # late: only https:// needs it

    return ssl.create_default_context(cafile=certifi.where())


def _way(url: str) -> str:
    """Names the proxy that requests to `url` go through; empty without one."""
    scheme, _, rest = url.partition("://")
    if is_own(url) or urllib.request.proxy_bypass(rest.partition("/")[0]):
        return ""
    names = [name for name in os.environ if name.lower() in (f"{scheme}_proxy", PROXIES[-1]) and os.environ[name]]
    return f" (through the proxy of {' and '.join(names)})" if names else ""


def _setting(name: str) -> str | None:
    """Returns a setting of Prefect from the environment or from the active profile, None if neither sets it."""
    if value := os.environ.get(name):
        return value
    with suppress(OSError, ValueError, AttributeError, KeyError):
        home = expanded(os.environ.get("PREFECT_HOME") or "~/.prefect")  # Prefect too replaces ~
        content = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
        return str(content["profiles"][os.environ.get("PREFECT_PROFILE") or content["active"]][name])
    return None
