"""Deploys the flows to a real server, and runs them on a real worker as a schedule or an event does."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from prefect.utilities.templating import apply_values
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessWorker
from ruamel.yaml import YAML

from flows.engine.processes.process_trees import terminate_trees
from flows.prefect_server import pull_steps
from flows.prefect_server.environment import HEARTBEAT
from flows.prefect_server.pools import base_job_template
from tests.conftest import Project, Toy, wait_until
from tests.flows.dvc_repo.test_remotes import commit
from tests.flows.test_pipeline import finished_run
from tests.support.commands import dvc, run_python
from tests.support.prefect_api import api
from tests.support.root import ROOT

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is slow


@pytest.fixture
def environment(prefect_url: str, tmp_path: Path) -> dict[str, str]:
    """Return the environment in which `prefect` finds the server, and stages find the project's modules."""
    settings = {
        "PREFECT_API_URL": prefect_url,
        "PREFECT_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }
    return os.environ | settings


def prefect(*arguments: str, environment: dict[str, str]) -> str:
    """Run a `prefect` command and return its output."""
    process = run_python("-m", "prefect", "--no-prompt", *arguments, environment=environment)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """Run a process worker on the pool `local`, and return the path of its log."""
    log = tmp_path / "worker.log"
    command = ["prefect", "worker", "start", "--pool", "local", "--type", "process", "--name", "tester"]
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=stream, stderr=stream)
        try:
            yield log
        finally:
            terminate_trees([process.pid])  # a worker that gets a signal waits for its runs without a limit
            process.wait()


@pytest.mark.farm
def test_nightly(project: Project, environment: dict[str, str], worker: Path, prefect_url: str) -> None:
    """The worker executes a triggered run and pushes to the remote; in a second run all stages are Cached."""
    remote = project.folder.parent / "remote"
    dvc("remote", "add", "--default", "store", str(remote))
    wait_until(lambda: httpx.get(f"{prefect_url}/work_pools/local", timeout=240).status_code == 200, timeout_s=60)
    prefect("deploy", "--name", "nightly", environment=environment)
    deployment = api(prefect_url, "GET", "/deployments/name/inkflow/nightly")
    assert deployment["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    trigger = ["deployment", "run", "inkflow/nightly", "--watch", "--watch-timeout", "240"]
    prefect(*trigger, "--param", 'targets=["evaluate@dense"]', environment=environment)
    first = finished_run(prefect_url, 7)
    assert first.flow_run["state_name"] == "Completed", worker.read_text()
    assert first.flow_run["deployment_id"] == deployment["id"]
    assert set(first.states) == {"pull", "validate", "download", "prepare", "train@dense", "evaluate@dense", "push"}
    assert set(first.states.values()) <= {"Cached", "Completed"}
    status = dvc("status", "evaluate@dense")
    assert "Data and pipelines are up to date." in status
    assert {path.name for path in remote.iterdir()} == {"files", "runs"}
    prefect(*trigger, "--param", 'targets=["evaluate@dense"]', environment=environment)
    second = finished_run(prefect_url, 7).states
    assert [second.pop(name) for name in ("pull", "push")] == ["Completed"] * 2
    assert set(second.values()) == {"Cached"}


@pytest.mark.farm
def test_a_fresh_clone_restores_all(diamond: Toy, environment: dict[str, str], prefect_url: str) -> None:
    """A run in a fresh clone restores the results that another clone pushed, although its commit does not record them:
    every stage ends Cached, and none runs.
    """
    diamond.write({".gitignore": "/*.runs\n/.inkflow\n/out\n/left\n/right\n/joined\n"})
    dvc("remote", "add", "-q", "-d", "store", str(diamond.folder / "../store"))
    commit(diamond.folder)
    program = "from flows.scheduled import scheduled; print(scheduled(return_state=True).message)"
    messages = {}
    for name in ("first", "second"):
        folder = diamond.folder.with_name(name)
        subprocess.run(["git", "clone", "--quiet", str(diamond.folder), str(folder)], check=True)
        process = run_python("-c", program, folder=folder, environment=environment)
        messages[name] = process.stdout.strip()
    assert messages == {"first": "4 of 4 stages ran", "second": "0 of 4 stages ran, 4 restored"}
    states = finished_run(prefect_url, 6).states
    assert [states.pop(name) for name in ("pull", "push")] == ["Completed"] * 2
    assert set(states.values()) == {"Cached"}
    assert not list(folder.glob("*.runs"))


ENTRIES = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_parameters_have_a_type_and_a_description(entry: dict[str, Any]) -> None:
    """The flow of each deployment has a type and a description of each parameter; its runs send more heartbeats."""
    file, _, name = entry["entrypoint"].rpartition(":" if ":" in entry["entrypoint"] else ".")
    flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    check_form(entry["name"], flow.parameters.model_dump())
    assert entry["description"]
    assert entry["work_pool"]["job_variables"]["env"] == HEARTBEAT


def check_form(name: str, schema: dict[str, Any]) -> None:
    """Fails if a parameter has no type or no description."""
    for key, parameter in schema["properties"].items():
        assert parameter.get("description"), f"{name}: {key}"
        assert {"type", "anyOf", "$ref", "allOf"} & set(parameter), f"{name}: {key}"


@pytest.mark.cases(1)
@pytest.mark.parametrize("names", [["nightly"], [entry["name"] for entry in ENTRIES]], ids=["nightly", "all"])
def test_every_deployment_has_a_checked_form(
    project: Project, environment: dict[str, str], prefect_url: str, names: list[str]
) -> None:
    """`prefect deploy` accepts prefect.yaml; the server has a type and a description of each parameter.

    The runs of each deployment send heartbeats at the shorter interval.
    """
    for pool in ("local", "gpu"):
        created = httpx.post(f"{prefect_url}/work_pools/", json={"name": pool, "type": "process"}, timeout=240)
        assert created.status_code in (201, 409), created.text  # 409: another test of the session has made it
    prefect("deploy", *(["--all"] if len(names) > 1 else ["--name", *names]), environment=environment)
    deployed = {entry["name"]: entry for entry in api(prefect_url, "POST", "/deployments/filter")}
    assert set(names) <= set(deployed)
    for name in names:
        assert deployed[name]["enforce_parameter_schema"], name
        assert deployed[name]["description"], name
        assert deployed[name]["job_variables"]["env"] == HEARTBEAT, name
        check_form(name, deployed[name]["parameter_openapi_schema"])
    bad = {"parameters": {"push": "perhaps"}}
    answer = httpx.post(f"{prefect_url}/deployments/{deployed['nightly']['id']}/create_flow_run", json=bad, timeout=240)
    assert answer.status_code == 409
    assert "'perhaps' is not of type 'boolean'" in answer.text


def worker_of(kind: str) -> type[BaseWorker[Any, Any, Any]]:
    """Returns the installed worker of a kind of work pool."""
    # Late: they take 4 seconds in each process that collects the tests.
    from prefect_docker.worker import DockerWorker  # type: ignore[import-untyped]
    from prefect_kubernetes.worker import KubernetesWorker  # type: ignore[import-untyped]

    workers: list[type[BaseWorker[Any, Any, Any]]] = [ProcessWorker, DockerWorker, KubernetesWorker]
    return {worker.type: worker for worker in workers}[kind]


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_templates_match_the_installed_workers(kind: str) -> None:
    """A template has the variables of the installed worker's default template, and its complete job configuration."""
    worker = worker_of(kind)
    ours, default = base_job_template(ROOT, worker.type), worker.get_default_base_job_template()
    jsonschema.Draft202012Validator.check_schema(ours["variables"])
    assert set(ours["job_configuration"]) == set(default["job_configuration"])
    variables, known = ours["variables"]["properties"], default["variables"]["properties"]
    for name in set(variables) & set(known):
        assert {**variables[name], "default": None} == {**known[name], "default": None}, name
    assert set(known) - set(variables) <= {
        "container_create_kwargs"
    }  # our template sets the GPUs of a container with it
    assert variables["env"]["default"] == HEARTBEAT
    names = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(ours["job_configuration"])))
    assert names == set(variables)
    defaults = {name: entry["default"] for name, entry in variables.items() if entry.get("default") is not None}
    jsonschema.validate(defaults, ours["variables"])


def job(worker: type[BaseWorker[Any, Any, Any]], **variables: object) -> Any:
    """Return the job that the worker builds from our template and a run's variables, validated by its own model."""
    ours = base_job_template(ROOT, worker.type)
    defaults = {name: entry["default"] for name, entry in ours["variables"]["properties"].items() if "default" in entry}
    return worker.job_configuration.model_validate(apply_values(ours["job_configuration"], defaults | variables))


def test_docker_jobs_ask_for_a_gpu() -> None:
    """The Docker job has a device request for one GPU that docker-py accepts; an empty variable `gpus` removes it."""
    from docker.types import HostConfig  # type: ignore[import-untyped]  # late: it comes with the worker

    [request] = HostConfig("1.43", **job(worker_of("docker")).container_create_kwargs)["DeviceRequests"]
    assert (request["Driver"], request["Count"], request["Capabilities"]) == ("nvidia", 1, [["gpu"]])
    assert job(worker_of("docker"), gpus=[]).container_create_kwargs["device_requests"] == []


def test_kubernetes_jobs_ask_for_a_gpu() -> None:
    """The Kubernetes job asks for one GPU, tolerates the taint of GPU nodes, and gets the secret's variables."""
    pod = job(worker_of("kubernetes")).job_manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["requests"]["memory"] == "4Gi"
    assert container["envFrom"] == [{"secretRef": {"name": "inkflow", "optional": True}}]
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert container["image"] == "inkflow:gpu"


def test_runs_are_pinned_to_a_commit(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a repository, a run clones it at the commit of the deployment and ignores later commits."""
    commit = ["git", "-c", "user.name=tester", "-c", "user.email=tester@localhost", "commit", "--quiet", "-m", "x"]
    for number in range(2):
        project.write({"number.txt": f"{number}\n", "below/number.txt": f"{number}\n"})
        subprocess.run(["git", "add", "number.txt", "below/number.txt"], check=True)
        subprocess.run(commit, check=True)
    first = subprocess.run(["git", "rev-parse", "HEAD~1"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    result = asyncio.run(pull_steps.project(str(project.folder), f"file://{project.folder}", first))
    assert (Path(result["directory"]) / "number.txt").read_text() == "0\n"
    assert Path.cwd() == Path(result["directory"])
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "second")
    below = asyncio.run(pull_steps.project(str(project.folder), f"file://{project.folder}", first, "below/"))
    assert Path.cwd() == Path(below["directory"]), "the project is in a folder of the repository"
    assert Path("number.txt").read_text() == "0\n"
    with pytest.raises(ValueError, match="has no folder other/; commit it, and deploy again"):
        asyncio.run(pull_steps.project(str(project.folder), f"file://{project.folder}", first, "other/"))
    assert asyncio.run(pull_steps.project(str(project.folder))) == {"directory": str(project.folder)}
    with pytest.raises(ValueError, match="expected a commit to check out"):
        asyncio.run(pull_steps.project(str(project.folder), "https://git.example/x.git", ""))


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("https://git.example/x.git", "https://git.example/x.git"),
        ("ssh://git@git.example/x.git", "ssh://git@git.example/x.git"),
        ("", "{{ $INKFLOW_REPOSITORY }}"),
        (None, "https://ghp_hunter22@git.example/x.git"),
        (None, "https://me:hunter22@git.example/x.git"),
        (None, "ssh://git:hunter22@git.example/x.git"),
    ],
)
def test_no_secret_is_stored_in_a_deployment(repository: str | None, address: str) -> None:
    """A repository address with a password or token is refused at deployment and at a run, with a masked message."""
    if repository is not None:
        assert pull_steps.address(address) == {"repository": repository}
        return
    with pytest.raises(ValueError, match=r"credential helper or an SSH key") as deployed:
        pull_steps.address(address)
    with pytest.raises(ValueError, match=r"credential helper or an SSH key") as run:
        asyncio.run(pull_steps.project(".", address, "1234"))
    assert "hunter22" not in f"{deployed.value} {run.value}"


def test_dockerfile_copies_existing_files() -> None:
    """Every file that the image copies exists, and .dockerignore admits these files and no others."""
    copied = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    names = [name for names in copied for name in names]
    assert {name.split("/")[0] for name in names} == admitted
    assert all((ROOT / name).exists() for name in names)
