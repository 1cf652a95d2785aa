"""Work pools: which there have to be, and how a pool of one type starts its jobs (the templates in workers/)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from flows.engine import resources
from flows.engine.policy import load_policies
from stages.base.errors import InkflowError, InvalidInput

TEMPLATES = Path("workers")  # <type of pool>.json
GPU = "gpu"  # pool whose jobs take a GPU each


def pools(root: Path, deployments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the pools that deployments and execution.yaml speak of.

    Raises:
        PolicyInvalid: execution.yaml has mistakes.
    """
    of_deployments = [item["work_pool"]["name"] for item in deployments if (item.get("work_pool") or {}).get("name")]
    of_stages = [policy.pool for policy in load_policies(root).stages.values() if policy.pool]
    return list(dict.fromkeys([*of_deployments, *of_stages]))


def template(root: Path, kind: str) -> dict[str, Any]:
    """Base job template of pools of the type `kind`; empty, which is Prefect's own, where there is none.

    Raises:
        InvalidInput: the file is no JSON.
    """
    path = root / TEMPLATES / f"{kind}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidInput(f"{path} is no JSON: {error}") from error
    return found


def create(client: SyncPrefectClient, root: Path, name: str) -> None:
    """Make the process pool `name`, on which one run a GPU when it is for GPUs; one that is there stays as it is.

    Raises:
        InkflowError: there is a pool of that name and another type.
    """
    try:
        known = client.read_work_pool(name)
    except ObjectNotFound:
        limit = max(1, len(resources.gpus())) if name == GPU else None
        made = template(root, "process")
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=made, concurrency_limit=limit)
        )
        return
    if known.type != "process":
        raise InkflowError(f"the work pool {name} is of type {known.type}, expected process; remove or rename it first")
