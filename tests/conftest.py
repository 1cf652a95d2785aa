"""Fixtures of all tests: small DVC projects, copies of this project, and a real Prefect server."""

import compileall
import functools
import gc
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML
from xdist.remote import Producer

from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display, SilentDisplay
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Options, Run
from stages.base.machine import available_cores
from tests.support import own_settings
from tests.support.commands import run_python
from tests.support.distribution import ModuleScheduling, order_tests
from tests.support.loopback import free_port
from tests.support.own_settings import BIN
from tests.support.prepared import copy_prepared
from tests.support.root import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BUSY = 4
COLLECTED: Counter[str] = Counter()  # cases of tests with the mark `cases`

Inkflow = Callable[..., subprocess.CompletedProcess[str]]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ModuleScheduling:
    """Tells xdist which process runs which test."""
    return ModuleScheduling(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One process more than there are cores: many tests wait for servers, intervals and time limits."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else available_cores() + 1


def pytest_configure() -> None:
    """Collects no garbage while the modules of the tests are imported, which leave none."""
    gc.disable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option for a random order."""
    parser.addoption("--random-order", type=int, metavar="SEED", help="run modules and tests in an order of this seed")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leaves to `make test-farm` all but the first cases of a test that has the mark `cases`."""
    mark = item.get_closest_marker("cases")
    if mark and not item.get_closest_marker("farm"):
        test = item.nodeid.partition("[")[0]
        COLLECTED[test] += 1
        if COLLECTED[test] > mark.args[0]:
            item.add_marker(pytest.mark.farm)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Orders the tests, after the deselected ones have left."""
    order_tests(items, config.getoption("random_order"))


def pytest_collection_finish() -> None:
    """Excludes all imported modules from garbage collections: each training makes one, which took half a second."""
    gc.collect()
    gc.freeze()
    gc.enable()


own_settings.apply()


class Toy:
    """A small DVC project for one test, with the files that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_prepared(_make_empty_project, folder)

    def write(self, files: Mapping[str, str]) -> None:
        """Writes text files, and creates their folders."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def read(self, name: str) -> str:
        """Returns the text of a file."""
        return (self.folder / name).read_text()

    def runs(self, name: str) -> int:
        """Returns how often a stage ran that appends a line to `NAME.runs`."""
        path = self.folder / f"{name}.runs"
        return len(path.read_text().splitlines()) if path.exists() else 0


def _make_empty_project(folder: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init(str(folder)).close()
    shutil.rmtree(folder / ".dvc/tmp")  # its time is a part of the name of DVC's database of hashes
    shutil.rmtree(folder / ".git/hooks", ignore_errors=True)  # samples, which each copy would copy


DIAMOND = """
stages:
  source:
    cmd: echo >> source.runs; cp in out
    deps: [in]
    params: [knobs]
    outs: [out]
  side:
    foreach: [left, right]
    do:
      cmd: echo >> ${item}.runs; cp out ${item}
      deps: [out]
      outs: ["${item}"]
  join:
    cmd: echo >> join.runs; cat left right > joined
    deps: [left, right]
    outs: [joined]
"""


@pytest.fixture
def diamond(toy: Toy) -> Toy:
    """A project with the graph source → side@left, side@right → join."""
    toy.write({"dvc.yaml": DIAMOND, "params.yaml": "knobs: {speed: 1}\n", "in": "one\n"})
    return toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """An empty DVC project, which is also the current folder."""
    folder = tmp_path / "toy"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Toy(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, for the tests of one module."""
    from tests.support.chromium import open_chromium  # late: most tests need none, and Playwright is slow to import

    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Prefect server on loopback, with SQLite, for the whole test session."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/api"
            wait_until(lambda: _healthy(url), timeout_s=120)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=240)


@pytest.fixture(scope="session")
def inkflow(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Inkflow:
    """Runs the `inkflow` command in a folder, with the Prefect server of the session."""
    home = tmp_path_factory.mktemp("inkflow")

    def call(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        # `python -m` searches the folder first: a copy of the project uses its own modules, a toy uses these.
        settings = {"PREFECT_API_URL": prefect_url, "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)}
        settings |= environment
        if settings["PREFECT_API_URL"]:  # without one it starts a server, which has to end with it
            return run_python("-m", "flows", *arguments, folder=folder, environment=os.environ | settings)
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            cwd=folder,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return call


SHORT: dict[str, object] = {"optimizer": {"name": "adam"}, "batch_size": 32, "epochs": 2}
SMALL_MODELS: dict[str, dict[str, object]] = {
    "dense": {"network": "dense", "units": [32]} | SHORT,
    "cnn": {"network": "cnn", "filters": [4, 8], "units": [16], "output": "logits"} | SHORT,
}


class Project(Toy):
    """A copy of the tracked files of this project, with parameters that train in a second."""

    def __init__(self, folder: Path, cache: Path) -> None:
        super().__init__(folder)
        tracked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        for name in names:
            if (ROOT / name).is_file() and not name.startswith("evaluation/") and name != "dvc.lock":
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, target)
        self.write({".dvc/config.local": f"[cache]\n    dir = {cache}\n"})
        self.set({"dataset": "digits", "prepare.samples": [0, 600], "models": SMALL_MODELS})

    def copy_to(self, folder: Path) -> "Project":
        """Copies the project with all its files into the new folder `folder`."""
        copy = Project.__new__(Project)
        copy.folder = shutil.copytree(self.folder, folder, symlinks=True)
        return copy

    def set(self, changes: Mapping[str, object]) -> None:
        """Sets values at dotted keys of params.yaml."""
        path = self.folder / "params.yaml"
        content = YAML(typ="safe").load(path.read_text())
        for key, value in changes.items():
            *parents, last = key.split(".")
            functools.reduce(lambda section, name: section[name], parents, content)[last] = value
        with path.open("w") as file:
            YAML().dump(content, file)


def run_engine(
    *targets: str,
    jobs: int = 1,
    force: bool = False,
    keep_going: bool = False,
    policies: Policies | None = None,
    display: Display | None = None,
) -> Run:
    """Brings stages of the project in the current folder up to date, without Prefect."""
    options = Options(jobs=jobs, force=force, keep_going=keep_going)
    run, repository = Run(targets, options, display or SilentDisplay()), Repository()
    engine = Engine(repository, policies or Policies(), run)
    engine.start(repository.stages(targets))
    engine.wait()
    return run


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One DVC cache for all copies of the project, of all test processes: a test restores what another one trained."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "cache"


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Project:
    """A copy of this project with the digits and two small models, from which the tests make their copies."""
    project = Project(tmp_path_factory.mktemp("project"), shared_cache)
    for package in ("flows", "stages"):  # else each copy compiles all modules anew
        compileall.compile_dir(project.folder / package, quiet=2)
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of this project with the digits and two small models; also the current folder."""
    project = original.copy_to(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    return project


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=20).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Waits until `condition` is true; raises TimeoutError after `timeout_s`, which a busy machine has BUSY times."""
    end = time.monotonic() + BUSY * timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"the condition is still false after {BUSY * timeout_s:g} s")
        time.sleep(0.2)
