"""Assembles the status from its sections."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.status.local_sections import alarms_section, data_section, disk_section, gates_section, local_runs
from flows.status.model_section import models_section
from flows.status.parts import MAX_AGE, Section, Status
from flows.status.server import Json, ServerFacts, read_server
from flows.status.server_sections import (
    failed_section,
    next_section,
    nightly_section,
    runs_section,
    server_section,
    workers_section,
)

# In the order of the page; a further subject is one more line. A section that is None is absent: the project has
# nothing of that kind.
SECTIONS: tuple[Callable[[Path, ServerFacts, datetime, timedelta], Section | None], ...] = (
    lambda _, server, now, max_age: nightly_section(server, now, max_age),
    lambda _, server, now, __: failed_section(server, now),
    lambda root, _, now, __: data_section(root, now),
    lambda root, _, now, __: models_section(root, now),
    lambda root, _, __, ___: gates_section(root),
    lambda root, _, now, __: alarms_section(root, now),
    lambda root, server, now, _: runs_section(server, local_runs(root), now),
    lambda _, server, now, __: workers_section(server, now),
    lambda _, server, now, __: next_section(server, now),
    lambda root, _, __, ___: disk_section(root),
    lambda _, server, now, __: server_section(server, now),
)


def collect(root: Path, *, max_age: timedelta = MAX_AGE, own_run: Json | None = None) -> Status:
    """Returns the status of the project at `root`; reads, and keeps the server's answers in `.inkflow`.

    Args:
        root: the project.
        max_age: an older last good nightly needs a person.
        own_run: the flow run that asks, with its final state; see `read_server`.
    """
    server = read_server(root, own_run)
    now = datetime.now(UTC)
    sections = [make(root, server, now, max_age) for make in SECTIONS]
    return Status(now, tuple(section for section in sections if section is not None))
