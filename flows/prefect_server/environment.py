"""Environment variables that configure Prefect, in this process and in those that Inkflow starts.

Prefect reads its settings when it is imported. So the settings for this process are set during the import and taken
back afterwards: stages, workers and runs inherit the environment of the caller, not ours.
"""

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from urllib.parse import urlsplit

from flows.core.redaction import also_masked

DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
OLD_DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"  # Prefect still reads it
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
HOSTS = "INKFLOW_UP_HOSTS"  # for our middleware: the names under which requests may address the server
ORIGIN_HOSTS = "INKFLOW_UP_ORIGIN_HOSTS"  # for it too: the names whose pages may use the server
ORIGINS = "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"  # Prefect's default allows every web page
HEARTBEAT_S = 30  # between heartbeats of our runs: Prefect's minimum; its default is 180
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}
RUN_LOGS = {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_TO_API_ENABLED": "true"}  # whatever a person prefers
NO_ANALYTICS = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
RETRIED = "PREFECT_CLIENT_RETRY_EXTRA_CODES"
RETRIED_CODES = "500,504"  # answers of a server whose database is away; Prefect repeats requests after 429, 502 and 503
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@contextmanager
def variables_set(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Sets environment variables during the block, or removes those that are None; then restores the earlier ones.

    Secrets in the earlier ones are masked all the time.
    """
    before = {name: os.environ.get(name) for name in variables}
    with also_masked(before):
        _set(variables)
        try:
            yield
        finally:
            _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def loopback_variables(host: str | None = None) -> dict[str, str]:
    """Returns the variables with which clients reach loopback, and `host`, without the caller's proxy."""
    proxies = {name: value for name, value in os.environ.items() if name.lower() in PROXIES and value}
    variables = {}
    if proxies:
        exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        own = [*LOOPBACK_NAMES, host] if host and "%" not in host else LOOPBACK_NAMES  # httpx takes no zone of IPv6
        names = ",".join(dict.fromkeys([*filter(None, exempt.split(",")), *own]))
        variables = {"no_proxy": names, "NO_PROXY": names}
    if find_spec("socksio") is None:  # httpx then refuses to start, even for addresses that need no proxy
        variables |= {name: "" for name, value in proxies.items() if value.startswith("socks")}
    return variables


def certificate_variables() -> dict[str, str]:
    """Returns the variable that clears a missing SSL_CERT_FILE: Prefect opens the file even for `http://`."""
    path = os.environ.get("SSL_CERT_FILE")
    return {"SSL_CERT_FILE": ""} if path and not os.access(path, os.R_OK) else {}


def is_loopback(url: str) -> bool:
    """Returns True if the host of `url` is that of loopback; False for text that is no URL."""
    with suppress(ValueError):
        return is_loopback_host(urlsplit(url).hostname or "")
    return False


def is_own(url: str) -> bool:
    """Returns True if the host of `url` is this machine, under any of its addresses; False for text that is no URL.

    A request to it goes through no proxy, which would get the password.
    """
    if is_loopback(url):
        return True
    with suppress(ValueError):
        host = (urlsplit(url).hostname or "").partition("%")[0]
        return bool(host) and (host == socket.gethostname().lower() or host in machine_addresses())
    return False


def machine_addresses() -> set[str]:
    """Returns the addresses of this machine's network interfaces."""
    import psutil  # late: slow, and not needed for loopback

    return {item.address.partition("%")[0].lower() for items in psutil.net_if_addrs().values() for item in items}


def is_loopback_host(host: str) -> bool:
    """Returns True if `host`, a name or an address, is that of loopback."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
