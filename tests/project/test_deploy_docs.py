"""The commands in docs/deploy.md, and the page of a run with its artifacts in Prefect."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from flows.prefect_server.credentials import HOME, PAGE_FILE
from tests.conftest import Project
from tests.support.chromium import NEEDS_CHROMIUM, WAIT_MS, open_chromium
from tests.support.own_settings import BIN
from tests.support.root import ROOT
from tests.support.up_process import Up, environment, running_up

BLOCK = re.compile(r"```sh\n# tested\n(.*?)```", re.DOTALL)
MODEL = {"network": "dense", "units": [16], "optimizer": {"name": "adam"}, "batch_size": 32, "epochs": 1}
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.farm, pytest.mark.timeout(1200)]  # many commands


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Project:
    """A committed copy of the project with one tiny model, whose `inkflow` command runs its own code."""
    folder = tmp_path_factory.mktemp("deploy") / "project"
    folder.mkdir()
    project = Project(folder, shared_cache)
    project.set({"models": {"dense": MODEL}})
    script = f'#!/bin/sh\nexec "{BIN}/python" -m flows "$@"\n'
    project.write({"../bin/inkflow": script})
    (folder.parent / "bin" / "inkflow").chmod(0o755)
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "x"], cwd=folder, check=True)
    return project


@pytest.fixture(scope="module")
def up(cloned: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running `inkflow up` in this copy."""
    with running_up(cloned.folder, tmp_path_factory.mktemp("log") / "up.log") as up:
        yield up


@pytest.fixture(scope="module")
def result(up: Up) -> "subprocess.CompletedProcess[str]":
    """The result of all tested blocks of the page, run one after another in one shell."""
    blocks = BLOCK.findall((ROOT / "docs" / "deploy.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    settings = environment(
        PATH=f"{up.folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        PREFECT_API_URL=up.api,
        PREFECT_HOME=str(up.folder.parent / "home"),
        STORE=str(up.folder.parent / "store"),
        REPOSITORY=f"file://{up.folder}",
        COLUMNS="300",
    )
    script = "set -euxo pipefail\n" + "\n".join(blocks)
    log = up.folder.parent / "commands.log"
    with log.open("w") as stream:
        result = subprocess.run(["bash", "-c", script], cwd=up.folder, env=settings, stdout=stream, stderr=stream)
    return subprocess.CompletedProcess(result.args, result.returncode, log.read_text())


def test_all_commands_succeed(result: "subprocess.CompletedProcess[str]", up: Up) -> None:
    """All tested blocks succeed: the runs are completed, the remote has the results, and the event started its run."""
    assert result.returncode == 0, result.stdout[-3000:] + up.logs[-3000:]
    first, second = up.runs("nightly")
    assert (first["state_name"], second["state_name"]) == ("Completed", "Completed")
    tasks = up.ended_tasks(second, 9)
    assert [tasks.pop(name) for name in ("pull", "push")] == ["Completed"] * 2
    assert {state for name, state in tasks.items() if name != "gates"} == {"Cached"}
    assert (up.folder.parent / "store" / "runs").is_dir()
    assert up.post("/flow_runs/filter", deployments={"name": {"any_": ["retrain-on-new-data"]}})
    pools = {pool["name"]: pool for pool in up.post("/work_pools/filter")}
    assert {name: pool["type"] for name, pool in pools.items() if name.startswith("gpu")} == {
        "gpu": "process", "gpu-docker": "docker", "gpu-cluster": "kubernetes",
    }  # fmt: skip
    assert pools["gpu"]["concurrency_limit"] == 2


@pytest.mark.browser
@NEEDS_CHROMIUM[1]
def test_the_page_shows_the_run_with_its_artifacts(result: "subprocess.CompletedProcess[str]", up: Up) -> None:
    """The page of a run shows its tasks and, among its artifacts, the report, without requests to the network."""
    run = up.runs("nightly")[0]
    assert re.match(r"digits: \d+ (ran|restored)", run["name"])
    external_urls: list[str] = []

    def block_external(route: Route) -> None:
        is_local = route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
        external_urls.extend([] if is_local else [route.request.url])
        (route.continue_ if is_local else route.abort)()

    with open_chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(WAIT_MS)
        log_in = context.new_page()
        log_in.goto((up.folder / HOME / PAGE_FILE).as_uri())
        log_in.get_by_text("Dashboard").first.wait_for()
        log_in.close()
        page = context.new_page()
        page.route("**/*", block_external)
        open_run(page, up, run["id"], run["name"])
    assert external_urls == []


def open_run(page: Page, up: Up, run: str, name: str) -> None:
    """Opens the page of a run and waits for its tasks and artifacts."""
    page.goto(f"http://127.0.0.1:{up.port}/runs/flow-run/{run}")
    page.get_by_text(name).first.wait_for()
    page.get_by_text("Task Runs", exact=True).click()
    page.get_by_text("train@dense").first.wait_for()
    page.get_by_text("Artifacts", exact=True).last.click()
    page.get_by_text("inkflow-brief").first.wait_for()
    page.get_by_text("inkflow-models").first.wait_for()
