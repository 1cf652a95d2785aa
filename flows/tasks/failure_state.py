"""Converts an error into the final state of a task or flow run, with the secrets in its message masked."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from flows.core.errors import Interrupted, Pruned
from flows.core.redaction import mask


def failure_state(error: BaseException) -> State[Any]:
    """Return the state of a run that ended with `error`: Cancelled for an interruption, Pruned, else Failed."""
    message = mask(str(error))
    if isinstance(error, Pruned):
        return Cancelled(name="Pruned", message=message)
    return Cancelled(message=message) if isinstance(error, Interrupted) else Failed(message=message)
