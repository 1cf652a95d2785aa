"""The status on Prefect's page: each run of a flow renews it, whatever its end; on a real server."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed
from ruamel.yaml import YAML

from flows.scheduled import scheduled
from flows.status import server
from flows.status.renewal import renews_status
from flows.tasks.own_settings import own_flow
from tests.conftest import Toy
from tests.support.prefect_api import api
from tests.support.root import ROOT


def good() -> State[Any]:
    """Ends well."""
    return Completed(message="done")


def bad() -> State[Any]:
    """Ends with a failure."""
    return Failed(message="a reason")


def broken() -> State[Any]:
    """Ends with an exception."""
    raise RuntimeError("a bug")


@pytest.mark.cases(1)
@pytest.mark.server
@pytest.mark.parametrize("body", [good, bad, broken])
def test_each_run_renews_the_status(
    body: Callable[[], State[Any]], toy: Toy, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a success, a failure and an exception the newest artifact is that of the run, which is no more running."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    monkeypatch.setattr(server, "REST_S", 240.0)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        state = own_flow("of-the-status-test")(renews_status(body))(return_state=True)
    assert state.is_completed() == (body is good)
    wanted = {"artifacts": {"key": {"any_": ["inkflow-status"]}}}
    [artifact] = api(prefect_url, "POST", "/artifacts/latest/filter", wanted)
    assert artifact["flow_run_id"] == str(state.state_details.flow_run_id)
    assert artifact["type"] == "markdown" and "- **server**: <http" in artifact["data"]
    assert "of-the-status-test" not in artifact["data"]


def entrypoints() -> dict[str, str]:
    """The entrypoint of each deployment in prefect.yaml, by name."""
    content = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return {item["name"]: item["entrypoint"] for item in content["deployments"]}


@pytest.mark.parametrize("name", sorted(entrypoints().keys() - {"gpu"}))  # whose folder is no project
def test_each_deployment_renews_the_status(name: str) -> None:
    """The runs of each deployment of prefect.yaml renew the status, save a stage that a worker runs for another run."""
    module, _, flow = entrypoints()[name].removesuffix(".py").replace(".py:", ":").replace("/", ".").partition(":")
    function = getattr(importlib.import_module(module), flow).fn
    assert function.__code__ is renews_status(good).__code__


def test_the_parameters_of_a_flow_stay(toy: Toy) -> None:
    """A flow that renews the status has the parameters of its function; called outside of a run, it renews nothing."""
    assert "fallback" in inspect.signature(scheduled.fn).parameters and scheduled.parameters.properties["jobs"]
    assert renews_status(good)().message == "done"
