"""What a sink shows: the state of one training, or of the report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Row(NamedTuple):
    """One epoch: its values in the order of `State.columns`, and when it ended, in seconds since 1970."""

    values: list[float]
    time_s: float


@dataclass
class State:
    """The state so far.

    Attributes:
        name: the name of the model, or `report`; empty until the stage has sent it.
        key: what decides the training's result, as in its checkpoint.
        is_resumed: whether the training goes on from a checkpoint.
        parameters: the model in params.yaml.
        tags: facts about the run.
        columns: the columns of history.csv.
        rows: the epochs so far.
        models: the ONNX files of the models in a report, by name.
        status: FINISHED, FAILED or KILLED once the stage has ended; empty before.
        files: the outputs of a stage that has succeeded.
    """

    name: str = ""
    key: str = ""
    is_resumed: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    status: str = ""
    files: list[str] = field(default_factory=list)


class Sink(Protocol):
    """One sink, called from one thread."""

    def update(self, state: State) -> None:
        """Shows what it has not shown of `state` yet; any exception means that it tries again later."""


def flat(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the parameters that are set, keys of mappings joined by dots: `optimizer.name`."""
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value
