"""Names a flow run after its work, such as `mnist: 3 ran, 12 unchanged`, in place of Prefect's two random words."""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
from coolname.data import config
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from flows.core.redaction import mask
from flows.engine.run import Run

OURS = re.compile(r".*: \d+ stages?")  # what a run that was started again, or changed to its fallback, has
WORDS: Any = config  # lists of the words of which Prefect makes names such as `sassy-otter`
MAX_TARGETS = 3  # in a name


def run_subject(run: Run) -> str:
    """Return the subject of `run`: its data set (without our schema the folder of the project), and its targets."""
    root = run.sharing.parents[1] if run.sharing else Path.cwd()  # a clone has a temporary name
    name = run.params.dataset if run.params else root.name
    return ", ".join([name, *_shortened(run.targets)])


def name_run(subject: str, text: str) -> None:
    """Name the flow run of this context `SUBJECT: TEXT`; a name that a person has given stays.

    If the server does not take the name, the run goes on with the earlier one.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    name = run_name(subject, text)
    if run is None or run.name == name:
        return
    if not (_is_random(run.name) or OURS.fullmatch(run.name) or run.name.startswith(run_name(subject, ""))):
        return
    with suppress(httpx.HTTPError, OSError, PrefectException), get_client(sync_client=True) as client:
        client.set_flow_run_name(run.id, name)
        run.name = name


def run_name(subject: str, text: str) -> str:
    """Return the name `SUBJECT: TEXT` on one line, masked."""
    return re.sub(r"\s", " ", mask(f"{subject}: {text}"))


def _is_random(name: str) -> bool:
    """Return True for two words that Prefect's generator can have chosen: an adjective and an animal."""
    first, _, second = name.partition("-")
    return first in _words("adj_any") and second in _words("subj")


@cache
def _words(kind: str) -> frozenset[str]:
    entry = WORDS.get(kind) or {}
    return frozenset(entry.get("words") or chain(*map(_words, entry.get("lists") or ())))


def _shortened(targets: Sequence[str]) -> list[str]:
    more = len(targets) - MAX_TARGETS
    return [*targets[:MAX_TARGETS], *([f"{more} more"] if more > 0 else [])]
