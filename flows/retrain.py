"""Retraining when the data at their source are no longer those of params.yaml.

    watch-data, on a schedule ── data changed? ──> event inkflow.data.changed ──> retrain-on-new-data
                                 anybody else who knows of new data ──^

The event is a wake-up alone: whoever is woken looks at the data itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from prefect import flow, get_client, get_run_logger
from prefect.client.schemas.objects import State
from prefect.events import Event, Resource
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed
from prefect.variables import Variable

from flows.core.redaction import mask
from flows.core.stage_program import run_program
from flows.engine.run import Options, Run
from flows.scheduled import run_with_settings
from flows.tasks.failure_state import failed
from flows.tasks.remote_sync import pull_run_cache, push_results
from stages.base.errors import InkflowError

CHANGED = "inkflow.data.changed"


class Look(NamedTuple):
    """What a data set is at its source: SHA-256 of each array, there and in params.yaml."""

    dataset: str
    source: str | None  # None: it comes with a library, and cannot change
    present: Mapping[str, str]
    recorded: Mapping[str, str]

    @property
    def changed(self) -> Mapping[str, str]:
        """Digests of the arrays that are not as recorded."""
        return {name: value for name, value in self.present.items() if self.recorded.get(name) != value}

    @property
    def sentence(self) -> str:
        """What was seen."""
        if self.source is None:
            return f"{self.dataset} comes with a library: it has no source that could change"
        new = ", ".join(self.changed)
        return f"{self.source}: {f'{new} are new' if new else f'{self.dataset} is as params.yaml says'}"


def look(dataset: str | None, root: Path = Path()) -> Look:
    """Look at `dataset` (the chosen one when None) where it comes from: the mirror when one is named, else its address.

    Raises:
        ProgramFailed: it cannot be had there, or is no data set.
    """
    arguments = ["--dataset", dataset] if dataset else []
    return Look(**json.loads(mask(run_program("download.source_digests", arguments, root))))


@flow(name="watch-data", persist_result=False)
def watch_data(dataset: str | None = None) -> State[Any]:
    """Look whether the data at their source changed; say so once, as the event `inkflow.data.changed`.

    Args:
        dataset: one of `datasets` in params.yaml; the chosen one when empty.
    """
    try:
        seen = look(dataset)
    except InkflowError as error:
        return failed(error)
    get_run_logger().info(seen.sentence)
    memory = f"inkflow_data_{seen.dataset.replace('-', '_').lower()}"
    if Variable.get(memory, default=None) == dict(seen.present):  # looked at before: what is new was told
        return Completed(message=seen.sentence)
    if seen.changed:
        try:
            tell(seen)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            lost = f"{seen.sentence}; the server did not take the event, the next look tells ({error})"
            return failed(InkflowError(lost))
    Variable.set(memory, dict(seen.present), overwrite=True)  # last: what was not told is told the next time
    return Completed(message=f"{seen.sentence}: told" if seen.changed else seen.sentence)


def tell(seen: Look) -> None:
    """Have the server take the event; Prefect's `emit_event` would only queue it, and tell nobody when it is lost.

    Raises:
        httpx.HTTPError, PrefectHTTPStatusError: it did not take it.
    """
    event = Event(
        event=CHANGED,
        resource=Resource({
            "prefect.resource.id": f"inkflow.dataset.{seen.dataset}",
            "prefect.resource.name": seen.dataset,
        }),
        payload={"source": seen.source, "sha256": dict(seen.present)},
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


@flow(name="retrain", persist_result=False)
def retrain(dataset: str | None = None, fallback: str | None = None, push: bool = True) -> State[Any]:
    """Take the data at their source for the data set: write their digests into params.yaml, run what depends on them.

    Args:
        dataset: one of `datasets` in params.yaml; the chosen one when empty.
        fallback: the data set to use when this one cannot be reached while it is downloaded.
        push: push outputs and run cache to DVC's default remote; without a remote nothing is pushed.
    """
    try:
        seen = look(dataset)
    except InkflowError as error:
        return failed(error)
    get_run_logger().info(seen.sentence)
    if not seen.changed:
        return Completed(name="Cached", message=f"nothing to do: {seen.sentence}")
    settings = {f"datasets.{seen.dataset}.sha256.{name}": value for name, value in seen.present.items()}
    edits = settings | {"dataset": seen.dataset}
    state = run_with_settings(edits, Run(options=Options(pull=pull_run_cache()), fallback=fallback))
    return push_results(state) if push else state
