"""Threads that ask Prefect's server outlast an answer that is no JSON, as a page of a proxy."""

import json
from threading import Event
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

import pytest
from prefect.states import Cancelling

from flows.tasks import cancellation
from flows.workers import heartbeat

PAGE = "<html>"


class Client:
    """Answers each first request with a page, later ones with a run that is being cancelled."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _answer(self, request: str, answer: object) -> Any:
        self.asked.append(request)
        return answer if self.asked.count(request) > 1 else json.loads(PAGE)

    def read_flow_run(self, _: object) -> Any:
        """Returns the run."""
        return self._answer("run", SimpleNamespace(state=Cancelling(), parent_task_run_id=None))

    def create_artifact(self, _: object) -> Any:
        """Returns the artifact."""
        return self._answer("create", SimpleNamespace(id=uuid4()))

    def update_artifact(self, *_: object) -> None:
        """Accepts a report."""
        self._answer("update", None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """The client of the threads, which poll without a pause."""
    client = Client()
    for module, pause in ((heartbeat, "HEARTBEAT_S"), (cancellation, "POLL_S")):
        monkeypatch.setattr(module, "get_client", lambda **_: client)
        monkeypatch.setattr(module, pause, 0.01)
    return client


def test_heartbeats_go_on(client: Client) -> None:
    """The report is sent again, and a cancelled stage is interrupted."""
    interrupted = Event()
    executor: Any = SimpleNamespace(activity="", interrupt=interrupted.set)
    with heartbeat.Heartbeat("stage", executor) as beats:
        assert interrupted.wait(60)
        beats.finish(None)
    assert {"create", "update"} <= set(client.asked)


def test_a_cancelled_run_is_still_noticed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is interrupted at the second answer."""
    context = SimpleNamespace(flow_run=SimpleNamespace(id=uuid4(), deployment_id=None))
    monkeypatch.setattr(cancellation, "FlowRunContext", SimpleNamespace(get=lambda: context))
    interrupted = Event()
    with cancellation.watch_for_cancellation(interrupted.set):
        assert interrupted.wait(60)
    assert client.asked == ["run", "run"]
