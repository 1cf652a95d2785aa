"""One `inkflow up` for the tests of several modules, with the servers that it tells about failures."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from flows.prefect_server.notifications.receivers import NOTIFY
from flows.prefect_server.up_settings import WEBHOOK
from tests.conftest import Toy
from tests.support.http_receiver import Receiver
from tests.support.scheduled_project import scheduled
from tests.support.up_process import SHORT_DELAYS, Up, running_up

SECRET = "hunter2"


class SharedUp(NamedTuple):
    """A project, the receivers of its failures, and the function that returns its `inkflow up`."""

    project: Toy
    receiver: Receiver
    phone: Receiver
    running: Callable[[], Up]


@pytest.fixture(scope="package")
def shared_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedUp]:
    """`inkflow up` in a project with schedules, in the shell of a person with a proxy and quiet logs.

    It is started when a test first needs it, and again after a test has ended it.
    """
    project, log = scheduled(tmp_path_factory.mktemp("up") / "toy"), tmp_path_factory.mktemp("log") / "up.log"
    shell = {"HTTP_PROXY": "http://127.0.0.1:9", "PREFECT_LOGGING_LEVEL": "ERROR"}
    started: list[Up] = []
    with ExitStack() as stack:
        receiver, phone = (stack.enter_context(Receiver().running()) for _ in range(2))
        phone.status = 200
        url = f"http://hook:{SECRET}@127.0.0.1:{receiver.port}/hook"
        receivers = {WEBHOOK: url, NOTIFY: f"ntfy://user:{SECRET}@127.0.0.1:{phone.port}/on-call"}

        def running() -> Up:
            if not started or started[-1].process.poll() is not None:
                started.append(
                    stack.enter_context(running_up(project.folder, log, **receivers, **SHORT_DELAYS, **shell))
                )
            return started[-1]

        yield SharedUp(project, receiver, phone, running)


@pytest.fixture
def up(shared_up: SharedUp) -> Up:
    """The shared `inkflow up`."""
    return shared_up.running()
