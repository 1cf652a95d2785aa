"""What tests ask a Prefect server, which may be busy for a moment on a machine with two cores."""

from collections.abc import Mapping
from typing import Any

from flows.prefect_server.api_client import ask, client


def api(
    url: str, method: str, path: str, content: Mapping[str, object] | None = None, auth: tuple[str, str] | None = None
) -> Any:
    """What the server at `url` answers to the JSON `content`; httpx.HTTPStatusError when that is no success."""
    with client(url, auth) as server:
        answer = ask(server, method, path, **(content or {}))
    return answer.json() if answer.content else None
