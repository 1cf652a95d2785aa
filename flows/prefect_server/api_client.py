"""Requests to a Prefect server without Prefect's client, which takes two seconds to import."""

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

ANSWER_S = 60.0
BUSY_S = 120.0  # how long a server may say 503, as it does while its SQLite is taken; Prefect's client asks again too
AGAIN_S = 0.5


def client(url: str, auth: tuple[str, str] | None = None) -> httpx.Client:
    """A client of the server whose API is at `url`."""
    return httpx.Client(base_url=url, auth=auth, timeout=ANSWER_S)


def ask(server: httpx.Client, method: str, path: str, **content: object) -> httpx.Response:
    """What the server answers to the JSON `content`; one that is busy is asked again, for BUSY_S.

    Raises:
        httpx.HTTPError: it cannot be reached, or its answer is no success.
    """
    again = Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(BUSY_S), wait=wait_fixed(AGAIN_S), reraise=True
    )
    json = content if content or method in ("POST", "PATCH") else None
    return again(lambda: server.request(method, path, json=json).raise_for_status())


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
