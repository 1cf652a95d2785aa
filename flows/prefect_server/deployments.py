"""What `inkflow up` deploys: prefect.yaml, with what a person has set on Prefect's page.

`inkflow up` owns what a run does: entry point, parameters, pool, limits, description. A person owns when it runs: the
schedules, whether a deployment is paused, and whether its triggers are switched on. Schedules that changed in
prefect.yaml since the last deployment win.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from ruamel.yaml import YAML

from flows.core.notices import read_kept
from flows.prefect_server.up_settings import DEPLOYMENTS
from stages.base.digests import write_sealed
from stages.base.files import write_text

FILE = "prefect.yaml"  # in the folder of `inkflow up`; Prefect wants this suffix
DEPLOYED = "schedules.json"  # in the same folder: the schedules of prefect.yaml at the last deployment


def write_deployments(client: SyncPrefectClient, root: Path, home: Path) -> Path:
    """Writes the prefect.yaml of `root`, with what a person has set, into a file in `home`, and returns its path."""
    content = _read_file(root)
    existing = {_key(item): item for item in _existing(client, content["deployments"])}
    deployed = _read_deployed(home)
    kept = []
    for entry in content["deployments"]:
        found = existing.get(_key(entry))
        kept.append(_with_settings(client, entry, found, deployed) if found else entry)
    path = home / FILE
    # JSON is YAML too, and means the same in every version of YAML.
    write_text(path, json.dumps(dict(content) | {"deployments": kept}, ensure_ascii=False, default=str))
    return path


def finish_deployments(client: SyncPrefectClient, root: Path, home: Path) -> None:
    """Lets the server refuse unknown parameters of new runs, and remembers the deployed schedules."""
    entries = _read_file(root)["deployments"]
    for item in _existing(client, entries):
        schema = item["parameter_openapi_schema"]
        if item["enforce_parameter_schema"] and schema and "additionalProperties" not in schema:
            content = {"parameter_openapi_schema": schema | {"additionalProperties": False}}
            client.request("PATCH", "/deployments/{id}", path_params={"id": item["id"]}, json=content)
    write_sealed(home / DEPLOYED, {_key(entry): _schedules(entry) for entry in entries})


def run_commands(client: SyncPrefectClient, root: Path) -> list[str]:
    """Returns the commands that start the first deployment of prefect.yaml and the stages, as lines with comments."""
    commands = {"inkflow run": "the same stages from here, on the same page"}
    entry = _read_file(root)["deployments"][0]
    for item in _existing(client, [entry])[:1]:
        flow = client.request("GET", "/flows/{id}", path_params={"id": item["flow_id"]}).json()["name"]
        schedule = _cron_schedule(entry)
        comment = f"now instead of by its schedule {schedule}" if schedule else ""
        name = shlex.quote(f"{flow}/{entry['name']}")
        commands = {f"prefect deployment run {name} --watch": comment} | commands
    width = max(map(len, commands))
    return [
        f"  {command:{width}}    # {comment}" if comment else f"  {command}" for command, comment in commands.items()
    ]


def _cron_schedule(entry: Mapping[str, Any]) -> str:
    """Returns the first active cron schedule of `entry` with its time zone, as written; an empty text if none."""
    for item in [entry.get("schedule"), *(entry.get("schedules") or [])]:
        if isinstance(item, Mapping) and item.get("cron") and item.get("active", True):
            return " ".join(map(str, filter(None, (item["cron"], item.get("timezone")))))
    return ""


def _read_file(root: Path) -> Mapping[str, Any]:
    """Returns the content of prefect.yaml as Prefect reads it, with YAML 1.1: `yes` and `on` are true."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    content: Mapping[str, Any] = yaml.load((root / DEPLOYMENTS).read_text(encoding="utf-8"))
    return content


def _existing(client: SyncPrefectClient, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the deployments on the server that have the name and the entry point of one of `entries`."""
    wanted = set(map(_key, entries))
    filters = {"deployments": {"name": {"any_": [entry["name"] for entry in entries]}}}
    found: list[Mapping[str, Any]] = client.request("POST", "/deployments/filter", json=filters).json()
    return [item for item in found if _key(item) in wanted]


def _key(entry: Mapping[str, Any]) -> str:
    """Returns what tells a deployment from others: two flows may each have one of the same name."""
    return f"{entry['entrypoint']} {entry['name']}"


def _with_settings(
    client: SyncPrefectClient, entry: Mapping[str, Any], found: Mapping[str, Any], deployed: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns `entry` of prefect.yaml with what a person has set in the deployment `found` on the server."""
    result = dict(entry) | {"paused": found["paused"]}
    before = deployed.get(_key(entry), deployed.get(entry["name"], _schedules(entry)))  # earlier versions: by the name
    if before == _schedules(entry):
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
    lost = "deployments keep the schedules of the server, also where prefect.yaml has changed; Prefect's page sets them"
    return read_kept(home / DEPLOYED, lost, lambda content: content) or {}
