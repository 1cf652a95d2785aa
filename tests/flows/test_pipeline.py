"""The Prefect flow: states that tell what DVC did, logs, failures in the stage's own words."""

from typing import Any

import pytest

from tests.conftest import DIAMOND, Inkflow, Toy, wait_until
from tests.support.prefect_api import api

pytestmark = pytest.mark.server


class Newest:
    """The newest flow run on a server, and its task runs in the order in which they started."""

    def __init__(self, url: str) -> None:
        self._url = url
        started = {"start_time": {"is_null_": False}}  # a schedule's coming runs are there too
        [self.flow_run] = self._filter("flow_runs", flow_runs=started, sort="START_TIME_DESC", limit=1)
        mine = {"id": {"any_": [self.flow_run["id"]]}}
        tasks = self._filter("task_runs", flow_runs=mine, sort="EXPECTED_START_TIME_ASC")
        self.tasks: dict[str, dict[str, Any]] = {task["name"]: task for task in tasks}

    @property
    def states(self) -> dict[str, str]:
        """Name of each task's state."""
        return {name: task["state_name"] for name, task in self.tasks.items()}

    def message(self, name: str) -> str:
        """Message of a task's state."""
        return str(self.tasks[name]["state"]["message"])

    def log(self, name: str) -> list[str]:
        """What stands in a task's log."""
        mine = {"task_run_id": {"any_": [self.tasks[name]["id"]]}}
        return [entry["message"] for entry in self._filter("logs", logs=mine)]

    def _filter(self, what: str, **body: object) -> Any:
        return api(self._url, "POST", f"/{what}/filter", body)


def settled(url: str, count: int) -> Newest:
    """The newest flow run once its `count` task runs have all reached the server, which learns of them by events."""
    wait_until(lambda: _is_settled(Newest(url), count), timeout_s=30)
    return Newest(url)


def _is_settled(run: Newest, count: int) -> bool:
    final = {"Completed", "Cached", "Failed", "Not run", "Crashed", "Cancelled"}
    return len(run.tasks) == count and set(run.states.values()) <= final


def test_completed_then_cached(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """Tasks are DVC's stages in its order; `Completed` where one ran, `Cached` where it did not, with the reason."""
    done = inkflow("run", folder=diamond.folder)
    assert done.returncode == 0, done.stderr
    first = settled(prefect_url, 4)
    assert first.flow_run["state_name"] == "Completed"
    assert first.states == dict.fromkeys(["source", "side@left", "side@right", "join"], "Completed")
    diamond.write({"params.yaml": "knobs: {speed: 2}\n"})
    (diamond.folder / "left").unlink()
    inkflow("run", folder=diamond.folder)
    second = settled(prefect_url, 4)
    assert second.states == {
        "source": "Completed", "side@left": "Cached", "side@right": "Cached", "join": "Cached",
    }  # fmt: skip
    assert second.message("source") == "ran: knobs.speed 1 → 2"
    assert second.message("side@left") == "restored from the run cache: left missing"
    assert second.message("join") == "unchanged"


def test_stage_output_in_the_log(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """What a stage prints stands in its task's log and, with its name, on the terminal."""
    diamond.write({"dvc.yaml": DIAMOND.replace("cp in out", "cp in out; echo epoch 1 of 2 >&2")})
    done = inkflow("run", "source", folder=diamond.folder)
    assert "source | epoch 1 of 2" in done.stdout
    run = settled(prefect_url, 1)
    wait_until(lambda: "epoch 1 of 2" in run.log("source"), timeout_s=30)
    assert run.states == {"source": "Completed"}


def test_failure(diamond: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """A failing stage fails its task and the flow with its own sentence; nothing behind it runs; no traceback."""
    diamond.write({"fail": "echo error: no paper >&2; exit 3", "dvc.yaml": DIAMOND.replace("cp in out", "sh fail")})
    done = inkflow("run", folder=diamond.folder)
    assert done.returncode == 3
    assert done.stderr.strip() == "error: source failed (exit code 3): no paper"
    assert "Traceback" not in done.stdout + done.stderr
    run = settled(prefect_url, 4)
    assert run.states == {"source": "Failed", "side@left": "Not run", "side@right": "Not run", "join": "Not run"}
    assert run.message("join") == "not run, since source failed"
    assert run.message("source") == "source failed (exit code 3): no paper"
    assert run.flow_run["state"]["message"] == run.message("source")
    assert not (diamond.folder / "dvc.lock").exists()


def test_nothing_to_do_asks_no_server(diamond: Toy, inkflow: Inkflow) -> None:
    """With everything unchanged, `inkflow run` never gets as far as Prefect."""
    assert inkflow("run", folder=diamond.folder).returncode == 0
    again = inkflow("run", folder=diamond.folder, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert again.returncode == 0
    assert again.stdout == "Nothing to do: all 4 stages are unchanged.\n"


def test_unreachable_server(diamond: Toy, inkflow: Inkflow) -> None:
    """A server that is named and not there is one sentence."""
    done = inkflow("run", folder=diamond.folder, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "http://127.0.0.1:9/api" in done.stderr
    assert diamond.runs("source") == 0


def test_temporary_server(diamond: Toy, inkflow: Inkflow) -> None:
    """Where no server is named, one is started for the run, and ends with it."""
    done = inkflow("run", folder=diamond.folder, PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    assert diamond.runs("join") == 1


def test_unknown_stage(diamond: Toy, inkflow: Inkflow) -> None:
    """A typo is said before anything runs."""
    done = inkflow("run", "jion", folder=diamond.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown stage 'jion'; did you mean 'join'?")


def test_flow_parameters_have_a_schema() -> None:
    """Prefect's page can offer a checked form: every parameter of the flow has a type and a description."""
    from flows.scheduled import scheduled

    properties = scheduled.parameters.model_dump()["properties"]
    names = {"targets", "settings", "dataset", "fallback", "force", "jobs", "keep_going", "push"}
    assert set(properties) == names
    assert all(entry["description"] for entry in properties.values())


@pytest.mark.server
def test_relative_mirror(toy: Toy, inkflow: Inkflow) -> None:
    """A mirror's folder is named from where the caller is, whatever the folder in which stages run."""
    stage = "cat $INKFLOW_MIRROR/data > out"
    toy.write(
        {"dvc.yaml": f"stages:\n  get: {{cmd: {stage}, deps: [in], outs: [out]}}\n", "in": "", "below/mirror/data": "x"}
    )
    run = inkflow("run", folder=toy.folder / "below", INKFLOW_MIRROR="mirror")
    assert run.returncode == 0, run.stderr
    assert toy.read("out") == "x"
