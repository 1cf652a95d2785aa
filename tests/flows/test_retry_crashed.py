"""The flow `retry-crashed`: starts a crashed run again, and gives up after a number of crashes."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect import Flow, Task, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Pending, Running

from flows.prefect_server.crashes import GAVE_UP, crash_reason
from flows.retry_crashed import retry_crashed

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
