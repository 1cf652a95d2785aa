"""Requests to a Prefect server: with httpx alone, or with Prefect's own client, whose import takes two seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from flows.core.redaction import mask
from flows.prefect_server.credentials import HOME
from flows.prefect_server.environment import is_own
from stages.base.errors import InkflowError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

TIMEOUT_S = 60.0
RETRY_S = 120.0  # a server answers 503 while its SQLite database is locked; Prefect's own client retries too
RETRY_WAIT_S = 0.5
SERVER_LOG = HOME / "server.log"  # of `inkflow up`


class ServerLost(InkflowError):
    """The server of `inkflow up` has answered before, and does not any more."""

    def __init__(self, error: httpx.TransportError) -> None:
        reason = mask(str(error)) or type(error).__name__
        super().__init__(f"Prefect's server no longer responds ({reason}); its log is {SERVER_LOG}")


def connect(url: str, auth: tuple[str, str] | None = None) -> httpx.Client:
    """Returns an HTTP client for the Prefect API at `url`."""
    return httpx.Client(base_url=url, auth=auth, timeout=TIMEOUT_S, trust_env=not is_own(url))


def request(client: httpx.Client, method: str, path: str, **content: object) -> httpx.Response:
    """Sends a request with the JSON body `content`; repeats it for RETRY_S while the server answers 503.

    Raises:
        httpx.HTTPError: The server cannot be reached, the response is not a success, or it is no JSON.
    """
    retrying = Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(RETRY_S), wait=wait_fixed(RETRY_WAIT_S), reraise=True
    )
    json = content if content or method in ("POST", "PATCH") else None
    response = retrying(lambda: client.request(method, path, json=json).raise_for_status())
    try:
        if response.content:
            response.json()
    except ValueError as error:  # as a page of a proxy
        raise httpx.DecodingError(f"the answer to {method} {path} is no JSON", request=response.request) from error
    return response


@contextmanager
def prefect_client() -> Iterator["SyncPrefectClient"]:
    """Yields Prefect's client of the server of `inkflow up`.

    Raises:
        ServerLost: The server does not respond.
        InkflowError: The server refused a request.
    """
    from prefect import get_client  # late: two seconds
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            yield client
    except PrefectHTTPStatusError as error:
        reason = mask(" ".join(str(error).split()))
        if error.response.is_server_error:
            reason += f"; its log is {SERVER_LOG}"
        raise InkflowError(f"Prefect's server refused a request: {reason}") from error
    except httpx.TransportError as error:
        raise ServerLost(error) from error


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
