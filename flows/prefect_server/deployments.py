"""What `inkflow up` deploys: prefect.yaml, with what a person has set on Prefect's page.

`inkflow up` owns what a run does: entry point, parameters, pool, limits, description. A person owns when it runs: the
schedules, whether a deployment is paused, and whether its triggers are switched on. Schedules that changed in
prefect.yaml since the last deployment win.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from ruamel.yaml import YAML

from stages.base.files import write_text

FILE = "prefect.yaml"  # in the folder of `inkflow up`
DEPLOYED = "schedules.json"  # in the same folder: the schedules of prefect.yaml at the last deployment


def write_deployments(client: SyncPrefectClient, content: Mapping[str, Any], home: Path) -> Path:
    """Writes prefect.yaml's `content`, with what a person has set, into a file in `home`, and returns its path."""
    entries = content["deployments"]
    names = [entry["name"] for entry in entries]
    response = client.request("POST", "/deployments/filter", json={"deployments": {"name": {"any_": names}}})
    existing = {(item["name"], item["entrypoint"]): item for item in response.json()}
    deployed = _read_deployed(home)
    kept = []
    for entry in entries:
        found = existing.get((entry["name"], entry["entrypoint"]))
        kept.append(_with_settings(client, entry, found, deployed) if found else entry)
    path = home / FILE
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(dict(content) | {"deployments": kept}, file)
    return path


def finish_deployments(client: SyncPrefectClient, entries: Sequence[Mapping[str, Any]], home: Path) -> None:
    """Lets the server refuse unknown parameters of new runs, and remembers the deployed schedules."""
    names = [entry["name"] for entry in entries]
    for item in client.request("POST", "/deployments/filter", json={"deployments": {"name": {"any_": names}}}).json():
        schema = item["parameter_openapi_schema"]
        if item["enforce_parameter_schema"] and schema and "additionalProperties" not in schema:
            content = {"parameter_openapi_schema": schema | {"additionalProperties": False}}
            client.request(
                "PATCH", "/deployments/{id}", path_params={"id": item["id"]}, json=content
            ).raise_for_status()
    write_text(home / DEPLOYED, json.dumps({entry["name"]: _schedules(entry) for entry in entries}))


def _with_settings(
    client: SyncPrefectClient, entry: Mapping[str, Any], found: Mapping[str, Any], deployed: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns `entry` of prefect.yaml with what a person has set in the deployment `found` on the server."""
    result = dict(entry) | {"paused": found["paused"]}
    if deployed.get(entry["name"], _schedules(entry)) == _schedules(entry):
        result.pop("schedule", None)
        result["schedules"] = None  # Prefect then leaves them as they are
    owned = client.read_resource_related_automations(f"prefect.deployment.{found['id']}")
    is_enabled = {automation.name: automation.enabled for automation in owned}
    if entry.get("triggers"):
        result["triggers"] = [
            dict(trigger)
            | {"enabled": is_enabled.get(_trigger_name(entry, trigger, number), trigger.get("enabled", True))}
            for number, trigger in enumerate(entry["triggers"], 1)
        ]
    return result


def _trigger_name(entry: Mapping[str, Any], trigger: Mapping[str, Any], number: int) -> str:
    """Returns the name of a trigger's automation: its own, or the one that Prefect gives it."""
    return str(trigger.get("name") or f"{entry['name']}__automation_{number}")


def _schedules(entry: Mapping[str, Any]) -> Any:
    """Returns the schedules of `entry`, as JSON gives them back."""
    return json.loads(json.dumps([entry.get("schedule"), entry.get("schedules")], default=str))


def _read_deployed(home: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads((home / DEPLOYED).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return {}
