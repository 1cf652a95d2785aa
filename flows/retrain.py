"""Retrains when the data at their source no longer match the digests in params.yaml.

    watch-data, on a schedule ── data changed? ──> event inkflow.data.changed ──> retrain-on-new-data
                                       any other sender of the event ──^

The event carries no data: each flow reads the digests from the source itself. `retrain` runs in a clone of the project;
a person decides whether params.yaml gets the new digests, with `dvc exp apply`.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.objects import State
from prefect.events import Event, Resource
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed
from prefect.variables import Variable

from flows.core.errors import ProgramFailed
from flows.core.redaction import mask
from flows.core.stage_program import run_program
from flows.engine.run import Options, Run
from flows.scheduled import run_with_settings
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.tasks.remote_sync import pull_run_cache, push_results
from flows.tasks.run_name import name_run
from stages.base.errors import InkflowError

DATA_CHANGED = "inkflow.data.changed"


class SourceDigests(NamedTuple):
    """SHA-256 of each array of a data set.

    Attributes:
        dataset: name of the data set in params.yaml.
        source: mirror or address; None for a data set that is part of a library, and cannot change.
        present: digests at the source.
        recorded: digests in params.yaml.
    """

    dataset: str
    source: str | None
    present: Mapping[str, str]
    recorded: Mapping[str, str]

    @property
    def changed(self) -> Mapping[str, str]:
        """Digests at the source that differ from params.yaml."""
        return {name: value for name, value in self.present.items() if self.recorded.get(name) != value}

    @property
    def sentence(self) -> str:
        """The comparison in one sentence."""
        if self.source is None:
            return f"{self.dataset} is part of a library: it has no source that can change"
        names = ", ".join(self.changed)
        return f"{self.source}: {f'{names} changed' if names else f'{self.dataset} matches params.yaml'}"


def read_source_digests(dataset: str | None, root: Path = Path()) -> SourceDigests:
    """Read the digests of `dataset`, or of the chosen one if None, from the mirror if one is set, else its address.

    Changed data are prepared in a temporary folder on trial, so that data that no run could use are an error here.

    Raises:
        ProgramFailed: the source is unavailable, or has no data set that the stages `download` and `prepare` accept.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, prepared = Path(folder) / "raw", Path(folder) / "prepared"
        arguments: list[str | Path] = ["--out", raw, *(["--dataset", dataset] if dataset else [])]
        digests = SourceDigests(**json.loads(mask(run_program("download.source_digests", arguments, root))))
        if digests.changed:
            try:
                run_program("prepare", ["--raw", raw, "--out", prepared], root)
            except ProgramFailed as error:
                reason = str(error).replace(f"{raw}/", "")
                raise ProgramFailed(f"{digests.sentence}, but cannot be used: {reason}", error.exit_code) from error
    return digests


@own_flow("watch-data")
def watch_data(dataset: str | None = None) -> State[Any]:
    """Check whether the data at their source changed, and send one event `inkflow.data.changed` per change.

    Args:
        dataset: one of `datasets` in params.yaml; the chosen one if empty.
    """
    try:
        digests = read_source_digests(dataset)
    except InkflowError as error:
        return failure_state(error)
    get_run_logger().info(digests.sentence)
    name_run(digests.dataset, f"{len(digests.changed)} arrays changed" if digests.changed else "data unchanged")
    variable = f"inkflow_data_{digests.dataset.replace('-', '_').lower()}"
    if Variable.get(variable, default=None) == dict(digests.present):  # an earlier check has sent the event
        return Completed(message=digests.sentence)
    if digests.changed:
        try:
            send_event(digests)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            message = f"{digests.sentence}; the server did not accept the event, the next check sends it ({error})"
            return failure_state(InkflowError(message))
    Variable.set(variable, dict(digests.present), overwrite=True)  # last: an event that was not sent is sent next time
    return Completed(message=f"{digests.sentence}: event sent" if digests.changed else digests.sentence)


def send_event(digests: SourceDigests) -> None:
    """Post the event to the server; Prefect's `emit_event` only queues it, and does not report that it was lost.

    Raises:
        httpx.HTTPError, PrefectHTTPStatusError: the server did not accept it.
    """
    event = Event(
        event=DATA_CHANGED,
        resource=Resource({
            "prefect.resource.id": f"inkflow.dataset.{digests.dataset}",
            "prefect.resource.name": digests.dataset,
        }),
        payload={"source": digests.source, "sha256": dict(digests.present)},
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


@own_flow("retrain")
def retrain(dataset: str | None = None, fallback: str | None = None, push: bool = True) -> State[Any]:
    """Bring the stages up to date with the digests of the data at their source, and record a DVC experiment.

    Args:
        dataset: one of `datasets` in params.yaml; the chosen one if empty.
        fallback: data set to use if this one becomes unavailable before it is downloaded.
        push: push outputs and run cache to DVC's default remote, if there is one.
    """
    try:
        digests = read_source_digests(dataset)
    except InkflowError as error:
        return failure_state(error)
    get_run_logger().info(digests.sentence)
    if not digests.changed:
        return Completed(name="Cached", message=f"nothing to do: {digests.sentence}")
    settings = {f"datasets.{digests.dataset}.sha256.{name}": value for name, value in digests.present.items()}
    edits = settings | {"dataset": digests.dataset}
    state = run_with_settings(edits, Run(options=Options(pull=pull_run_cache()), fallback=fallback))
    return push_results(state) if push else state
