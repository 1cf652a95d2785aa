"""Work pools: the names that the project uses, their base job templates (workers/*.json), and their creation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from flows.engine import resources
from flows.engine.policy import PoolLimits, load_policies
from stages.base.errors import InkflowError, InvalidInput
from stages.base.files import parse_json
from stages.base.suggestions import did_you_mean

TEMPLATES = Path("workers")  # <pool type>.json
GPU_POOL = "gpu"  # each of its runs takes one GPU


def pool_names(root: Path, deployments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the work pools in `deployments` and execution.yaml.

    Raises:
        PolicyInvalid: execution.yaml has mistakes.
        InvalidInput: execution.yaml has limits for a pool that nothing uses.
    """
    policies = load_policies(root)
    of_deployments = [item["work_pool"]["name"] for item in deployments if (item.get("work_pool") or {}).get("name")]
    of_stages = [policy.pool for policy in policies.stages.values() if policy.pool]
    names = list(dict.fromkeys([*of_deployments, *of_stages]))
    for name in policies.pools:
        if name not in names:
            raise InvalidInput(
                f"execution.yaml: pools.{name}: no deployment and no stage uses this pool; {did_you_mean(name, names)}"
                f"used: {', '.join(names) or 'none'}"
            )
    return names


def base_job_template(root: Path, pool_type: str) -> dict[str, Any]:
    """Returns the base job template for pools of `pool_type`; without a template file, {}, which selects Prefect's own.

    Raises:
        InvalidInput: The file is not valid JSON.
    """
    path = root / TEMPLATES / f"{pool_type}.json"
    try:
        template = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(template, dict):
            raise ValueError("expected an object")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidInput(f"{path} is not valid JSON: {error}") from error
    return template


def create_pool(client: SyncPrefectClient, root: Path, name: str) -> None:
    """Creates the process pool `name`; an existing process pool stays as it is.

    The pool GPU_POOL runs as many flow runs at a time as this machine has GPUs.

    Raises:
        InkflowError: A pool of that name has another type.
    """
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        limit = max(1, len(resources.gpus())) if name == GPU_POOL else None
        template = base_job_template(root, "process")
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=template, concurrency_limit=limit)
        )
        return
    if pool.type != "process":
        raise InkflowError(f"the work pool {name} has type {pool.type}, expected process; remove or rename it first")


def set_limits(client: SyncPrefectClient, name: str, limits: PoolLimits) -> None:
    """Sets the limits of the pool `name` and of its queues; a queue that does not exist is created."""
    if limits.limit is not None:
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limits.limit))
    queues = {queue.name: queue.id for queue in client.read_work_queues(work_pool_name=name)} if limits.queues else {}
    for queue, wanted in limits.queues.items():
        if queue not in queues:
            queues[queue] = client.create_work_queue(queue, work_pool_name=name).id
        changes = {"concurrency_limit": wanted.limit, "priority": wanted.priority}
        if changes := {key: value for key, value in changes.items() if value is not None}:
            client.update_work_queue(queues[queue], **changes)
