"""Requests of tests to a Prefect server, which may respond slowly on a machine with two cores."""

from collections.abc import Container, Mapping
from typing import Any

from flows.prefect_server.api_client import connect, request


def api(
    url: str, method: str, path: str, content: Mapping[str, object] | None = None, auth: tuple[str, str] | None = None
) -> Any:
    """What the server at `url` answers to the JSON `content`; httpx.HTTPStatusError when that is no success."""
    with connect(url, auth) as client:
        response = request(client, method, path, **(content or {}))
    return response.json() if response.content else None


def runs_of(url: str, deployment: str, known: Container[str] = ()) -> list[dict[str, Any]]:
    """The runs of a deployment without those whose ids are `known`: tests share a server, and deploy the same names."""
    body = {"deployments": {"name": {"any_": [deployment]}}}
    return [run for run in api(url, "POST", "/flow_runs/filter", body) if run["id"] not in known]
