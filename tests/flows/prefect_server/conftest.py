"""Servers that `inkflow up` of a module's tests tells about failures."""

from collections.abc import Iterator

import pytest

from tests.support.http_receiver import Receiver


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """The server that the webhook calls."""
    with Receiver().running() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def phone() -> Iterator[Receiver]:
    """The server of a push service."""
    with Receiver().running() as receiver:
        receiver.status = 200
        yield receiver
