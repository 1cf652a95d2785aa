"""Renews the status on Prefect's page at the end of a flow run, also of one that fails."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from flows.core.redaction import mask
from flows.status.collect import collect
from flows.tasks.artifacts import current_run, publish_status, publishing

P = ParamSpec("P")
Ended = TypeVar("Ended", bound=Any)  # a state of Prefect, which this room does not import


def renews_status(function: Callable[P, Ended]) -> Callable[P, Ended]:
    """Returns the flow's function, with a renewal of the status after it; a failure of that is a line in the log."""

    @functools.wraps(function)
    def renewing(*arguments: P.args, **options: P.kwargs) -> Ended:
        root = Path.cwd()
        try:
            state = function(*arguments, **options)
        except Exception as error:
            renew(root, "FAILED", "Failed", f"{type(error).__name__}: {error}")
            raise
        renew(root, state.type.value, state.name or state.type.value, state.message or "")
        return state

    return renewing


def renew(root: Path, kind: str, name: str, message: str) -> None:
    """Publishes the status of the project at `root`; the current run counts as ended in this state."""
    current = current_run()
    if current is None:  # called as a function, outside of Prefect
        return
    run, log = current
    with publishing("the status is", log):
        own = {"id": run, "type": kind, "state": name, "message": mask(message)}
        publish_status(mask(collect(root, own_run=own).as_markdown()))
