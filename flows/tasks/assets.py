"""Shows the outputs of a stage as assets of Prefect: an event for each, with its hash, its size and its lineage.

The events are those of Prefect's `@materialize`. They are sent here, since that decorator also sends an event for each
upstream asset, and loses the event of an output that is made of more than 100 files.
"""

import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from prefect.events import emit_event

from flows.core.git import fetch_address, git_text, is_in_repository
from flows.core.redaction import mask
from flows.engine.types import Content, Lineage, Result
from stages.base.errors import InkflowError
from stages.base.shown_text import shown_url

EVENT = "prefect.asset.materialization.succeeded"
MAX_RELATED = 80  # assets; Prefect takes 100 related resources, and adds the run, its flow, deployment and tags
MAX_KEY = 512  # characters
NOT_IN_KEYS = re.compile(r"[^\w./@:+,=~!$()*;-]")  # what Prefect refuses, and whatever else is unusual in a URL
TOOL = {"prefect.resource.id": "dvc", "prefect.resource.role": "asset-materialized-by"}


def emit_assets(result: Result) -> None:
    """Send an event for each output of a stage that ran with a lineage."""
    if result.lineage is None:
        return
    related = [
        {"prefect.resource.id": asset_key(item.path), "prefect.resource.role": "asset"}
        for item in result.lineage.dependencies[:MAX_RELATED]
    ]
    for output in result.lineage.outputs:
        resource = {"prefect.resource.id": asset_key(output.path), "prefect.resource.name": mask(output.path)}
        emit_event(EVENT, resource, related=[*related, TOOL], payload=_payload(result.stage, output, result.lineage))


def asset_key(path: str) -> str:
    """Return the key of an asset: `dvc://PROJECT/PATH`, or the URL itself of a file that lies elsewhere."""
    text = mask(path) if "://" in path else f"dvc://{_project(Path().resolve())}/{mask(path)}"
    return NOT_IN_KEYS.sub("_", text)[:MAX_KEY]


def _payload(stage: str, output: Content, lineage: Lineage) -> dict[str, object]:
    listed = {mask(item.path): item.hash for item in lineage.dependencies[:MAX_RELATED]}
    return {
        "stage": mask(stage),
        "hash": output.hash,
        "size": output.size,
        "dependencies": listed,
        "not_listed": len(lineage.dependencies) - len(listed),
    }


@cache
def _project(root: Path) -> str:
    """Return the name of the project: origin and folder in git, so that all clones give one key, or its folder."""
    origin = prefix = ""
    with suppress(InkflowError):  # git refuses to read a repository of another user
        if is_in_repository(root):
            origin = shown_url(fetch_address(root))
            prefix = git_text(["rev-parse", "--show-prefix"], root)
    name = re.split(r"[/:]", origin.rstrip("/").removesuffix(".git"))[-1]
    return f"{name}/{prefix}".rstrip("/") if name else root.name
