"""Fixtures: an orchestrator and two workers as three hosts, with one Prefect server, git server and DVC remote."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Toy, wait_until
from tests.flows.workers.services import Host, PrefectServer, Service, Sshd, kill_tree
from tests.support.postgres import find_program, running_postgres
from tests.support.prefect_api import api
from tests.support.root import ROOT

POOL, EMPTY_POOL = "gpu", "empty"
SHORT_INTERVALS = {  # faults are detected sooner
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "5",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
}
GIT_IDENTITY = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
SHORT_TIMEOUTS = {"lost_after_s": 8, "pool_wait_s": 3}


class Farm:
    """The hosts and servers that all tests share: a pool with two workers, and a pool without workers."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.sshd = Sshd(folder / "sshd")
        self.prefect = PrefectServer(folder / "prefect", database)
        self.orchestrator = self._host("orchestrator")
        self.hosts = {name: self._host(name) for name in ("one", "two")}
        self.workers = {name: self._worker(host) for name, host in self.hosts.items()}

    @contextmanager
    def running(self) -> Iterator["Farm"]:
        """Run all servers and workers until the block ends."""
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

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the Prefect server's response to a request."""
        return api(self.prefect.url, "POST", f"/{path}", body)

    def _host(self, name: str) -> Host:
        host = Host(self.folder / name, self.prefect)
        host.environment |= SHORT_INTERVALS
        self.sshd.write_config(host.folder)
        return host

    def _worker(self, host: Host) -> Service:
        command = ["prefect", "worker", "start", "--pool", POOL, "--name", host.name, "--type", "process"]

        def is_online() -> bool:
            workers = self.post(f"work_pools/{POOL}/workers/filter", {})
            return any(worker["name"] == host.name and worker["status"] == "ONLINE" for worker in workers)

        log = host.folder / "worker.log"
        return Service([*command, "--limit", "2"], log, is_online, env=host.environment, cwd=host.folder)

    def _deploy(self) -> None:
        """Create the pools, and deploy train-stage of the project's prefect.yaml for both."""
        for pool in (POOL, EMPTY_POOL):
            api(self.prefect.url, "POST", "/work_pools/", {"name": pool, "type": "process"})
        with (ROOT / "prefect.yaml").open() as file:
            content: dict[str, Any] = YAML(typ="safe").load(file)
        entry = next(entry for entry in content["deployments"] if entry["name"] == POOL)
        other = {**entry, "name": EMPTY_POOL, "work_pool": {**entry["work_pool"], "name": EMPTY_POOL}}
        with (self.folder / "prefect.yaml").open("w") as file:
            YAML().dump({"name": "inkflow", "deployments": [entry, other]}, file)
        self.orchestrator.check_output("prefect", "--no-prompt", "deploy", "--all", folder=self.folder)


class Clones:
    """The clones of one test's project: a bare repository, a DVC remote, and a clone on the orchestrator."""

    def __init__(self, folder: Path, farm: Farm) -> None:
        self.folder, self.farm = folder, farm
        self.remote = folder / "remote"
        self.remote.mkdir()
        self.git = folder / "project.git"
        self.clone = folder / "clone"
        self.commands: list[RunningCommand] = []
        self._earlier_runs = {run["id"] for run in self._runs()}

    def publish(self, original: Toy, policies: Mapping[str, object], url: str | None = None, **workers: object) -> Toy:
        """Commit the project `original`, push it to the bare repository, and return a clone."""
        folder, host = original.folder, self.farm.orchestrator
        name, url = ("folder", url) if url else ("storage", self.farm.sshd.url(self.remote))
        (folder / ".dvc/config").write_text(f"[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = {url}\n")
        with (folder / "execution.yaml").open("w") as file:
            YAML().dump({"stages": dict(policies), "workers": SHORT_TIMEOUTS | workers}, file)
        host.check_output("git", "add", "--all", folder=folder)
        host.check_output("git", *GIT_IDENTITY, "commit", "--quiet", "--message", "begin", folder=folder)
        host.check_output("git", "clone", "--quiet", "--bare", str(folder), str(self.git))
        return self.clone_to(self.clone)

    def clone_to(self, folder: Path) -> Toy:
        """Clone the project into `folder`."""
        self.farm.orchestrator.check_output("git", "clone", "--quiet", str(self.git), str(folder))
        toy = Toy.__new__(Toy)
        toy.folder = folder
        return toy

    def inkflow(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run `inkflow` in the clone, expect the exit code `code`, and return its output."""
        return self.start(*arguments, folder=None, **environment).wait(code)

    def start(self, *arguments: str, folder: Path | None = None, **environment: str) -> "RunningCommand":
        """Start `inkflow` in the clone, or in `folder`."""
        command = [sys.executable, "-P", "-m", "flows", *arguments]
        running = RunningCommand(command, folder or self.clone, self.farm.orchestrator.environment | environment)
        self.commands.append(running)
        return running

    def status(self, *targets: str) -> str:
        """Return the output of `dvc status` in the clone."""
        return self.farm.orchestrator.check_output("dvc", "status", *targets, folder=self.clone)

    def sent_runs(self) -> list[dict[str, Any]]:
        """Return the runs that this test sent to a pool, the oldest first."""
        return [run for run in self._runs() if run["id"] not in self._earlier_runs]

    def states(self) -> list[str]:
        """Return the states of the runs that this test sent."""
        return [run["state_type"] for run in self.sent_runs()]

    def wait_for_state(self, state: str, count: int = 1) -> None:
        """Wait until at least `count` of the sent runs are in a state."""
        wait_until(lambda: self.states().count(state) >= count, timeout_s=120)

    def _runs(self) -> list[dict[str, Any]]:
        body = {"flows": {"name": {"any_": ["train-stage"]}}, "sort": "START_TIME_ASC"}
        runs: list[dict[str, Any]] = self.farm.post("flow_runs/filter", body)
        return runs


class RunningCommand:
    """A command that runs while the test goes on."""

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

    def wait_for_line(self, text: str) -> str:
        """Return the next line of output that contains `text`."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if text in line)

    def wait(self, code: int = 0, timeout_s: float = 240) -> str:
        """Wait for the end of the command, expect the exit code `code`, and return its remaining output."""
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
            raise AssertionError(f"the command hangs:\n{output}") from None
        assert self.process.returncode == code, output
        return output


@pytest.fixture(scope="package")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Run the servers, an orchestrator and two workers."""
    if find_program("initdb") is None:
        pytest.skip("PostgreSQL is not installed")
    with running_postgres() as database, Farm(tmp_path_factory.mktemp("farm"), database).running() as farm:
        yield farm


@pytest.fixture
def clones(tmp_path: Path, farm: Farm) -> Iterator[Clones]:
    """Provide the clones of one test's project, and kill its commands at the end."""
    clones = Clones(tmp_path, farm)
    yield clones
    for running in clones.commands:
        if running.process.poll() is None:
            kill_tree(running.process.pid)
