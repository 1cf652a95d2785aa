"""Three machines on one: an orchestrator and two workers, who share a Prefect server, a git server and a DVC remote."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Toy, wait_until
from tests.flows.workers.services import Host, PrefectServer, Service, Sshd, end_tree
from tests.support.postgres import found, running_postgres
from tests.support.prefect_api import api
from tests.support.root import ROOT

POOL, EMPTY = "gpu", "empty"
QUICK = {  # so that faults are noticed soon; nothing else depends on it
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
}
PERSON = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
IMPATIENT = {"lost_after_s": 8, "pool_wait_s": 3}


class Farm:
    """What all tests share: servers, a pool with two workers, another one without any."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.sshd = Sshd(folder / "sshd")
        self.prefect = PrefectServer(folder / "prefect", database)
        self.orchestrator = self._host("orchestrator")
        self.hosts = {name: self._host(name) for name in ("one", "two")}
        self.workers = {name: self._worker(host) for name, host in self.hosts.items()}

    @contextmanager
    def running(self) -> Iterator["Farm"]:
        """Everything at work."""
        with ExitStack() as stack:
            for service in (self.sshd, self.prefect):
                stack.enter_context(service.running())
            self._deploy()
            for worker in self.workers.values():
                worker.launch()
                stack.callback(worker.stop)
            for worker in self.workers.values():
                worker.wait_until_ready()
            yield self

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the Prefect server tells."""
        return api(self.prefect.url, "POST", f"/{path}", body)

    def _host(self, name: str) -> Host:
        host = Host(self.folder / name, self.prefect)
        host.environment |= QUICK
        self.sshd.write_config(host.folder)
        return host

    def _worker(self, host: Host) -> Service:
        command = ["prefect", "worker", "start", "--pool", POOL, "--name", host.name, "--type", "process"]

        def is_online() -> bool:
            found = self.ask(f"work_pools/{POOL}/workers/filter", {})
            return any(worker["name"] == host.name and worker["status"] == "ONLINE" for worker in found)

        log = host.folder / "worker.log"
        return Service([*command, "--limit", "2"], log, is_online, env=host.environment, cwd=host.folder)

    def _deploy(self) -> None:
        """Make the pools, and the deployment of the project's prefect.yaml for both."""
        for pool in (POOL, EMPTY):
            api(self.prefect.url, "POST", "/work_pools/", {"name": pool, "type": "process"})
        with (ROOT / "prefect.yaml").open() as file:
            content: dict[str, Any] = YAML(typ="safe").load(file)
        entry = next(entry for entry in content["deployments"] if entry["name"] == POOL)
        other = {**entry, "name": EMPTY, "work_pool": {**entry["work_pool"], "name": EMPTY}}
        with (self.folder / "prefect.yaml").open("w") as file:
            YAML().dump({"name": "inkflow", "deployments": [entry, other]}, file)
        self.orchestrator.do("prefect", "--no-prompt", "deploy", "--all", folder=self.folder)


class Clones:
    """A project on a git server, a DVC remote of its own, and a clone of it on the orchestrator."""

    def __init__(self, folder: Path, farm: Farm) -> None:
        self.folder, self.farm = folder, farm
        self.remote = folder / "remote"
        self.remote.mkdir()
        self.git = folder / "project.git"
        self.clone = folder / "clone"
        self.begun: list[Running] = []
        self._before = {run["id"] for run in self._runs()}

    def publish(self, original: Toy, policies: Mapping[str, object], url: str | None = None, **workers: object) -> Toy:
        """Commit a project, push it, and clone it as a person does."""
        folder, host = original.folder, self.farm.orchestrator
        name, url = ("folder", url) if url else ("storage", self.farm.sshd.url(self.remote))
        (folder / ".dvc/config").write_text(f"[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = {url}\n")
        with (folder / "execution.yaml").open("w") as file:
            YAML().dump({"stages": dict(policies), "workers": IMPATIENT | workers}, file)
        host.do("git", "add", "--all", folder=folder)
        host.do("git", *PERSON, "commit", "--quiet", "--message", "begin", folder=folder)
        host.do("git", "clone", "--quiet", "--bare", str(folder), str(self.git))
        return self.another(self.clone)

    def another(self, folder: Path) -> Toy:
        """A further clone."""
        self.farm.orchestrator.do("git", "clone", "--quiet", str(self.git), str(folder))
        toy = Toy.__new__(Toy)
        toy.folder = folder
        return toy

    def inkflow(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What `inkflow` prints in the clone; it ends with `code`."""
        return self.begin(*arguments, folder=None, **environment).wait(code)

    def begin(self, *arguments: str, folder: Path | None = None, **environment: str) -> "Running":
        """The same, at work while the test goes on."""
        command = [sys.executable, "-P", "-m", "flows", *arguments]
        running = Running(command, folder or self.clone, self.farm.orchestrator.environment | environment)
        self.begun.append(running)
        return running

    def status(self, *targets: str) -> str:
        """What `dvc status` prints in the clone."""
        return self.farm.orchestrator.do("dvc", "status", *targets, folder=self.clone)

    def sent(self) -> list[dict[str, Any]]:
        """Every run that this test sent to a pool, the oldest first."""
        return [run for run in self._runs() if run["id"] not in self._before]

    def states(self) -> list[str]:
        """Their states."""
        return [run["state_type"] for run in self.sent()]

    def wait_for(self, state: str, count: int = 1) -> None:
        """Wait until so many of them are in a state."""
        wait_until(lambda: self.states().count(state) >= count, timeout_s=120)

    def _runs(self) -> list[dict[str, Any]]:
        body = {"flows": {"name": {"any_": ["train-stage"]}}, "sort": "START_TIME_ASC"}
        found: list[dict[str, Any]] = self.farm.ask("flow_runs/filter", body)
        return found


class Running:
    """A command at work."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, words: str) -> str:
        """Wait until it prints a line with `words`; the line."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if words in line)

    def wait(self, code: int = 0, timeout_s: float = 240) -> str:
        """All that it printed by its end, which has to be with `code`."""
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
            raise AssertionError(f"it hung:\n{output}") from None
        assert self.process.returncode == code, output
        return output


@pytest.fixture(scope="package")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Servers, an orchestrator and two workers at work."""
    if found("initdb") is None:
        pytest.skip("PostgreSQL is not installed")
    with running_postgres() as database, Farm(tmp_path_factory.mktemp("farm"), database).running() as farm:
        yield farm


@pytest.fixture
def clones(tmp_path: Path, farm: Farm) -> Iterator[Clones]:
    """Room for the project of one test; what it began is ended with it."""
    clones = Clones(tmp_path, farm)
    yield clones
    for running in clones.begun:
        if running.process.poll() is None:
            end_tree(running.process.pid)
