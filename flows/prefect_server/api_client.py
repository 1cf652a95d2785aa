"""HTTP requests to a Prefect server without Prefect's own client, whose import takes two seconds."""

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from flows.prefect_server.environment import is_own

TIMEOUT_S = 60.0
RETRY_S = 120.0  # a server answers 503 while its SQLite database is locked; Prefect's own client retries too
RETRY_WAIT_S = 0.5


def connect(url: str, auth: tuple[str, str] | None = None) -> httpx.Client:
    """Returns an HTTP client for the Prefect API at `url`."""
    return httpx.Client(base_url=url, auth=auth, timeout=TIMEOUT_S, trust_env=not is_own(url))


def request(client: httpx.Client, method: str, path: str, **content: object) -> httpx.Response:
    """Sends a request with the JSON body `content`; repeats it for RETRY_S while the server answers 503.

    Raises:
        httpx.HTTPError: The server cannot be reached, or the response is not a success.
    """
    retrying = Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(RETRY_S), wait=wait_fixed(RETRY_WAIT_S), reraise=True
    )
    json = content if content or method in ("POST", "PATCH") else None
    return retrying(lambda: client.request(method, path, json=json).raise_for_status())


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
