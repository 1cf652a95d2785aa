"""How a flow's run ends for Prefect when something went wrong: with a sentence that tells no secret."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from flows.core.errors import Interrupted
from flows.core.redaction import mask


def failed(error: BaseException) -> State[Any]:
    """The state of what `error` ended: Cancelled where somebody asked for that, else Failed."""
    said = mask(str(error))
    return Cancelled(message=said) if isinstance(error, Interrupted) else Failed(message=said)
