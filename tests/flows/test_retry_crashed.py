"""The flow `retry-crashed`: starts a crashed run again, and gives up after a number of crashes."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import Flow, Task, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import Event, Resource
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Completed, Crashed, Pending, Running

from flows.prefect_server.crashes import DIED, GAVE_UP, HEARTBEAT_EVENT, LIVES, SILENT, STOPPED, crash_reason
from flows.retry_crashed import _count_crashes, retry_crashed

EXIT = "Process exited with status code: 1"
LOG = "cannot load\nTraceback (most recent call last):\n  File 'x.py'\nModuleNotFoundError: No module named 'x'\n"


@pytest.mark.server
def test_run_whose_process_never_starts_its_flow_is_given_up(prefect_url: str) -> None:
    """Crashes are counted, not starts of the flow; each state says why, with the last line of the traceback."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(Flow(lambda: None, name="never")), "never")
        run = client.create_flow_run_from_deployment(deployment)
        messages = [crash_and_retry(client, run) for _ in range(3)]
        final = client.read_flow_run(run.id)
        assert final.run_count == 0
        assert final.state is not None
        assert (final.state.type, final.state.name) == (StateType.CRASHED, GAVE_UP)
        reason = f"ModuleNotFoundError: No module named 'x' ({EXIT})"
        assert messages == [
            f"started again after crash 1 of at most 3: {reason}",
            f"started again after crash 2 of at most 3: {reason}",
            f"crashed 3 times, not started again: {reason}",
        ]
        names = [state.name for state in client.read_flow_run_states(run.id)]
        assert names.count("Crashed") == 3  # the name of the event that starts `retry-crashed`


@pytest.mark.server
def test_tasks_of_a_crashed_run_do_not_stay_running(prefect_url: str) -> None:
    """A task that ran when the process ended is shown as crashed; one that had ended keeps its state."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(Flow(lambda: None, name="killed")), "killed")
        run = client.create_flow_run_from_deployment(deployment)
        states_before: dict[str, State[Any]] = {"prepare": Completed(name="Cached"), "train": Running()}
        tasks = [
            client.create_task_run(Task(lambda: None, name=name), run.id, name, name=name, state=state)
            for name, state in states_before.items()
        ]
        crash_and_retry(client, run)
        states = [client.read_task_run(task.id).state for task in tasks]
        assert [state.name for state in states if state] == ["Cached", "Crashed"]


def crash_and_retry(client: SyncPrefectClient, run: FlowRun) -> str:
    """Lets `run` crash as it does if its flow cannot be imported, calls the flow, and returns the state's message."""
    client.set_flow_run_state(run.id, Pending(), force=True)
    log = LogCreate(name="prefect", level=logging.ERROR, message=LOG, timestamp=datetime.now(UTC), flow_run_id=run.id)
    client.create_logs([log])
    client.set_flow_run_state(run.id, Crashed(message=EXIT))
    retry_crashed.fn(f"prefect.flow-run.{run.id}")
    state = client.read_flow_run(run.id).state
    assert state is not None
    return str(state.message)


@pytest.mark.server
def test_run_that_lives_is_set_back_to_running(prefect_url: str) -> None:
    """A run that was marked without a heartbeat, as after a suspend, and then sends one, goes on; no task is ended."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(Flow(lambda: None, name="lives")), "lives")
        client.request(
            "PATCH", "/deployments/{id}", path_params={"id": deployment}, json={"concurrency_limit": 1}
        ).raise_for_status()
        run = mark_silent(client, client.create_flow_run_from_deployment(deployment))
        task = client.create_task_run(Task(lambda: None, name="train"), run.id, "train", state=Running())
        send_heartbeat(client, run, timedelta(seconds=1))
        retry_crashed.fn(str(run.id))
        assert state_of(client, run) == (StateType.RUNNING, LIVES)
        assert client.read_task_run(task.id).state_name == "Running"
        client.set_flow_run_state(run.id, Completed())  # it ends as if nothing had been, also with a slot
        assert state_of(client, run)[0] == StateType.COMPLETED


@pytest.mark.server
def test_run_that_is_dead_is_started_again(prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a heartbeat since it was marked is started again, whatever heartbeats it sent before."""
    monkeypatch.setattr("flows.retry_crashed.LIFE_SIGN_S", 3.0)  # a minute otherwise
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(Flow(lambda: None, name="dead")), "dead")
        run = mark_silent(client, client.create_flow_run_from_deployment(deployment))
        send_heartbeat(client, run, timedelta(seconds=-60))
        retry_crashed.fn(str(run.id))
        message = f"started again after crash 1 of at most 3: {SILENT}"
        assert state_of(client, run) == (StateType.SCHEDULED, message)


@pytest.mark.server
def test_run_that_another_client_starts_again_is_left_alone(prefect_url: str) -> None:
    """A run that is no longer crashed when it could be judged is not started a second time."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(Flow(lambda: None, name="two")), "two")
        run = mark_silent(client, client.create_flow_run_from_deployment(deployment))
        again: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC), message="by hand")
        other = threading.Timer(3, client.set_flow_run_state, [run.id, again])
        other.start()
        assert retry_crashed.fn(str(run.id)).message == f"{run.name} is no longer crashed as before"
        other.join()
        assert state_of(client, run) == (StateType.SCHEDULED, "by hand")


def mark_silent(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    """Lets `run` be marked by the automation for missing heartbeats."""
    states: list[State[Any]] = [Pending(), Running()]
    for state in states:
        client.set_flow_run_state(run.id, state)
    client.set_flow_run_state(run.id, Crashed(message=SILENT))
    return run


def send_heartbeat(client: SyncPrefectClient, run: FlowRun, later: timedelta) -> None:
    """Sends a heartbeat of `run` with a time that is `later` than now."""
    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"})
    event = Event(event=HEARTBEAT_EVENT, occurred=datetime.now(UTC) + later, resource=resource)
    client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


def state_of(client: SyncPrefectClient, run: FlowRun) -> tuple[StateType, str | None]:
    """Returns type and message of a run's state."""
    state = client.read_flow_run(run.id).state
    assert state is not None
    return state.type, state.message


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        ([EXIT, None, EXIT], 2),
        ([SILENT, None, DIED], 2),
        ([SILENT, DIED], 1),  # marked by the server's automation, then at the start of `inkflow up`
        ([SILENT, STOPPED], 0),
        ([STOPPED, None, STOPPED, None, EXIT], 1),
        ([SILENT, LIVES, SILENT], 1),
    ],
)
def test_only_crashes_count(messages: list[str | None], count: int) -> None:
    """A stop of `inkflow up` is no crash, nor is the mark of a run that lives; a crash with two marks is one."""
    start = datetime.now(UTC)
    states: list[State[Any]] = [
        State(
            type=StateType.RUNNING if message in (None, LIVES) else StateType.CRASHED,
            message=message,
            timestamp=start + timedelta(seconds=number),
        )
        for number, message in enumerate(messages)
    ]
    assert _count_crashes(states[::-1]) == count


@pytest.mark.parametrize(
    ("message", "logs", "reason"),
    [
        ("killed", [], "killed"),
        ("killed", ["no traceback"], "killed"),
        ("", [LOG], "ModuleNotFoundError: No module named 'x'"),
        ("", [], "Prefect gave no reason"),
        ("it ended.", ["later error", LOG], "ModuleNotFoundError: No module named 'x' (it ended)"),
    ],
)
def test_reason_of_a_crash(message: str, logs: list[str], reason: str) -> None:
    """The reason is the last line of the newest traceback and the state's message, or what there is of them."""
    assert crash_reason(message, logs) == reason
