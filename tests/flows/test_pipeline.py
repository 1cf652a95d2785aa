"""Runs the pipeline as a Prefect flow: states of tasks, logs, failures with the stage's own message."""

import re
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from flows.prefect_server.crashes import HEARTBEAT_EVENT
from tests.conftest import DIAMOND, Inkflow, Toy, wait_until
from tests.support.http_server import Server, status
from tests.support.prefect_api import api

pytestmark = pytest.mark.server


class LatestFlowRun:
    """The latest flow run on a server, and its task runs in the order of their start."""

    def __init__(self, url: str) -> None:
        self._url = url
        started = {"start_time": {"is_null_": False}}  # excludes the future runs of a schedule
        [self.flow_run] = self._filter("flow_runs", flow_runs=started, sort="START_TIME_DESC", limit=1)
        this_run = {"id": {"any_": [self.flow_run["id"]]}}
        tasks = self._filter("task_runs", flow_runs=this_run, sort="EXPECTED_START_TIME_ASC")
        self.tasks: dict[str, dict[str, Any]] = {task["name"]: task for task in tasks}

    @property
    def states(self) -> dict[str, str]:
        """State name of each task."""
        return {name: task["state_name"] for name, task in self.tasks.items()}

    @property
    def edges(self) -> dict[str, set[str]]:
        """The tasks from which Prefect's drawing of the run has edges to each task."""
        nodes = dict(api(self._url, "GET", f"/flow_runs/{self.flow_run['id']}/graph-v2")["nodes"])
        names = {key: node["label"] for key, node in nodes.items()}
        return {node["label"]: {names[parent["id"]] for parent in node["parents"]} for node in nodes.values()}

    def message(self, name: str) -> str:
        """Return the message of a task's state."""
        return str(self.tasks[name]["state"]["message"])

    def log(self, name: str) -> list[str]:
        """Return the messages in a task's log."""
        this_task = {"task_run_id": {"any_": [self.tasks[name]["id"]]}}
        return [entry["message"] for entry in self._filter("logs", logs=this_task)]

    def _filter(self, kind: str, **body: object) -> Any:
        return api(self._url, "POST", f"/{kind}/filter", body)


def finished_run(url: str, count: int) -> LatestFlowRun:
    """Return the latest flow run once its `count` task runs are final; their states arrive as events, with a delay."""
    wait_until(lambda: _is_finished(LatestFlowRun(url), count), timeout_s=60)
    return LatestFlowRun(url)


def _is_finished(run: LatestFlowRun, count: int) -> bool:
    final = {"Completed", "Cached", "Failed", "Not run", "Crashed", "Cancelled"}
    return len(run.tasks) == count and set(run.states.values()) <= final


def test_completed_then_cached(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """Tasks are DVC's stages in its order: `Completed` if the stage ran, `Cached` if it did not, with the reason.

    The output of a stage appears in its task's log and, after its name, on the terminal.
    """
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "cp in out; echo epoch 1 of 2 >&2")})
    process = inkflow("run", folder=diamond.folder)
    assert process.returncode == 0, process.stderr
    assert "  source     | epoch 1 of 2\n" in process.stdout
    first = finished_run(prefect_url, 4)
    wait_until(lambda: "epoch 1 of 2" in first.log("source"), timeout_s=60)
    assert first.flow_run["state_name"] == "Completed"
    assert first.edges == {
        "source": set(), "side@left": {"source"}, "side@right": {"source"}, "join": {"side@left", "side@right"},
    }  # fmt: skip
    assert first.states == dict.fromkeys(["source", "side@left", "side@right", "join"], "Completed")
    diamond.write({"params.yaml": "knobs: {speed: 2}\n"})
    (diamond.folder / "left").unlink()
    inkflow("run", folder=diamond.folder)
    second = finished_run(prefect_url, 4)
    assert second.edges == first.edges
    assert second.states == {
        "source": "Completed", "side@left": "Cached", "side@right": "Cached", "join": "Cached",
    }  # fmt: skip
    assert second.message("source") == "ran: knobs.speed 1 → 2"
    assert second.message("side@left") == "restored from the run cache: left missing"
    assert second.message("join") == "unchanged"


@pytest.mark.farm
def test_braces_in_a_name(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A stage with braces in its name is a task of that name: Prefect does not take the name for a template."""
    toy.write({"dvc.yaml": "stages: {s: {foreach: ['{a}'], do: {cmd: echo 1 > out, outs: [out]}}}\n"})
    process = inkflow("run", folder=toy.folder)
    assert process.returncode == 0, process.stderr
    run = finished_run(prefect_url, 1)
    assert run.states == {"s@{a}": "Completed"}
    assert run.flow_run["state_name"] == "Completed"


@pytest.mark.farm
def test_another_result(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A stage that is restored to another result than dvc.lock names is `Cached`, and its message says so."""
    toy.write(
        {"dvc.yaml": "stages:\n  s: {cmd: cp chip out, deps: [in], outs: [out]}\n", "in": "1\n", "chip": "ours\n"}
    )
    assert inkflow("run", "--no-server", folder=toy.folder).returncode == 0
    lock = toy.read("dvc.lock")
    toy.write({"dvc.lock": re.sub(r"(path: out\n +hash: md5\n +md5: )\w+", rf"\g<1>{'a' * 32}", lock)})
    process = inkflow("run", folder=toy.folder)
    assert process.returncode == 0, process.stderr
    run = finished_run(prefect_url, 1)
    assert run.states == {"s": "Cached"}
    assert run.message("s") == (
        "restored from the run cache: another result for the same inputs; dvc.lock names one that no cache here has"
    )
    assert toy.read("dvc.lock") == lock


@pytest.mark.parametrize("responds", [True, False])
def test_last_log_lines_of_a_run(responds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts the logs late, but responds, gets the time for that; for another one the run says so."""
    from flows import pipeline  # late: it imports Prefect

    sent: Future[bool] = Future()

    def respond(request: BaseHTTPRequestHandler) -> None:
        status(200)(request)
        sent.set_result(True)

    monkeypatch.setattr(pipeline, "FLUSH_S", 0.1)
    monkeypatch.setattr("flows.pipeline.APILogWorker.drain_all", lambda timeout: (set(), {sent}))
    monkeypatch.setattr("flows.pipeline.EventsWorker.drain_all", lambda timeout: (set(), set()))
    with Server().running() as server:
        server.respond_with(respond)
        monkeypatch.setenv("PREFECT_API_URL", server.url if responds else "http://127.0.0.1:9")
        assert pipeline._unsent() == ([] if responds else [("log lines", 0.1)])


@pytest.mark.farm
def test_heartbeat(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A run sends the heartbeats by which the server notices a killed run; each names the run and its flow."""
    assert inkflow("run", "source", folder=diamond.folder).returncode == 0
    run = finished_run(prefect_url, 1).flow_run
    resource = f"prefect.flow-run.{run['id']}"
    body = {"filter": {"event": {"name": [HEARTBEAT_EVENT]}, "resource": {"id": [resource]}}}

    def sent() -> list[dict[str, Any]]:
        return list(api(prefect_url, "POST", "/events/filter", body)["events"])

    wait_until(lambda: len(sent()) > 0, timeout_s=60)
    assert [related["prefect.resource.id"] for related in sent()[0]["related"]] == [f"prefect.flow.{run['flow_id']}"]


def test_failure(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A failing stage fails its task and the flow with its own message, no traceback; later stages do not run."""
    diamond.write({"fail": "echo error: no paper >&2; exit 3", "dvc.yaml": DIAMOND.replace("cp in out", "sh fail")})
    process = inkflow("run", folder=diamond.folder)
    assert process.returncode == 3
    assert process.stderr.strip() == "error: source failed (exit code 3): no paper"
    assert "Traceback" not in process.stdout + process.stderr
    run = finished_run(prefect_url, 4)
    assert run.states == {"source": "Failed", "side@left": "Not run", "side@right": "Not run", "join": "Not run"}
    assert run.edges["join"] == {"side@left", "side@right"}
    assert run.message("join") == "not run, since source failed"
    assert run.message("source") == "source failed (exit code 3): no paper"
    assert run.flow_run["state"]["message"] == run.message("source")
    assert not (diamond.folder / "dvc.lock").exists()


@pytest.mark.farm
def test_nothing_to_do_needs_no_server(diamond: Toy, inkflow: Inkflow) -> None:
    """If all stages are unchanged, `inkflow run` does not contact the Prefect server."""
    assert inkflow("run", folder=diamond.folder).returncode == 0
    again = inkflow("run", folder=diamond.folder, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert again.returncode == 0
    assert again.stdout == "Nothing to do: all 4 stages are unchanged.\n"


def test_unreachable_server(diamond: Toy, inkflow: Inkflow) -> None:
    """A configured server that is unreachable gives an error without a traceback, and no stage runs."""
    process = inkflow("run", folder=diamond.folder, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "http://127.0.0.1:9/api" in process.stderr
    assert diamond.runs("source") == 0


@pytest.mark.farm
def test_temporary_server(diamond: Toy, inkflow: Inkflow) -> None:
    """Without a configured server, `inkflow run` starts a temporary one for the run."""
    process = inkflow("run", folder=diamond.folder, PREFECT_API_URL="")
    assert process.returncode == 0, process.stderr
    assert diamond.runs("join") == 1


def test_unknown_stage(diamond: Toy, inkflow: Inkflow) -> None:
    """A mistyped stage name is an error before any stage runs."""
    process = inkflow("run", "jion", folder=diamond.folder)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("error: unknown stage 'jion'; did you mean 'join'?")


def test_flow_parameters_have_a_schema() -> None:
    """Every parameter of the flow has a type and a description, so that Prefect's page can validate its form."""
    from flows.scheduled import scheduled

    properties = scheduled.parameters.model_dump()["properties"]
    names = {"targets", "settings", "dataset", "fallback", "force", "jobs", "keep_going", "push"}
    assert set(properties) == names
    assert all(entry["description"] for entry in properties.values())


@pytest.mark.farm
@pytest.mark.server
def test_relative_mirror(toy: Toy, inkflow: Inkflow) -> None:
    """A relative path of a mirror starts at the caller's folder, in whatever folder stages run."""
    stage = "cat $INKFLOW_MIRROR/data > out"
    toy.write(
        {"dvc.yaml": f"stages:\n  get: {{cmd: {stage}, deps: [in], outs: [out]}}\n", "in": "", "below/mirror/data": "x"}
    )
    run = inkflow("run", folder=toy.folder / "below", INKFLOW_MIRROR="mirror")
    assert run.returncode == 0, run.stderr
    assert toy.read("out") == "x"
