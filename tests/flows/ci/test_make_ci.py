"""`make ci` runs all lanes; pull requests of forks do not use the DVC remote."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.root import ROOT


@pytest.mark.parametrize("broken", [None, "tests", "check", "run"])
def test_make_ci_does_every_lane(broken: str | None, tmp_path: Path) -> None:
    """`make ci` runs all lanes also after one failed, prints the result of each, and fails if one did. ARGS is passed
    to the run lane alone.
    """
    shutil.copy(ROOT / "Makefile", tmp_path)
    commands = {".ci/run": "tests", ".ci/setup": "setup", ".venv/bin/inkflow": "$2"}
    for name, lane in commands.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "began {lane} $* $ARGS $MAKEFLAGS"\ntest "{lane}" != "{broken}"\n')
        path.chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.ready"):
        (tmp_path / name).touch()
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ARGS"))}
    command = ["make", "--no-print-directory", "ci", "ARGS=-- --jobs 2"]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert (done.returncode == 0) == (broken is None), done.stderr
    began = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("began")]
    assert began == [["began", lane] for lane in ("tests", "check", "run")]
    lines = [f"{lane}: {'failed' if lane == broken else 'passed'}" for lane in ("tests", "check", "run")]
    assert done.stdout.splitlines()[-3:] == lines
    with_jobs = [line.split()[1] for line in done.stdout.splitlines() if "ci run -- --jobs 2" in line]
    assert with_jobs == ["run"]
    assert "--jobs" not in next(line for line in done.stdout.splitlines() if line.startswith("began tests"))


# How a pull request of a fork is recognised. The flag `head.repo.fork` would be wrong: a repository that is itself a
# fork has pull requests of its own.
GITHUB_FORK = (
    "github.event_name == 'pull_request' && github.event.pull_request.head.repo.full_name != github.repository"
)
GITHUB_OWN = "github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name == github.repository"
GITLAB_FORK = (
    '$CI_PIPELINE_SOURCE == "merge_request_event" '
    "&& $CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_MERGE_REQUEST_PROJECT_ID"
)


def _jobs(file: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / file).read_text())
    return content


@pytest.mark.parametrize("file", [".github/workflows/pipeline.yml", "templates/engine/github.yml"])
def test_only_pull_requests_of_forks_skip_the_remote(file: str) -> None:
    """The workflows, that of `inkflow init --ci github` too, compare the pull request's repository with their own; a
    fork has no run lane.
    """
    text = (ROOT / file).read_text()
    assert "head.repo.fork" not in text
    assert f"{GITHUB_FORK} && '--no-remote' || ''" in " ".join(text.split())
    assert _jobs(file)["jobs"]["run"]["if"] == GITHUB_OWN


@pytest.mark.parametrize("file", [".gitlab-ci.yml", "templates/engine/gitlab.yml"])
def test_only_merge_requests_of_forks_skip_the_remote(file: str) -> None:
    """The same on GitLab, also in the file of `inkflow init --ci gitlab`: the first rule of both lanes is for forks."""
    content = _jobs(file)
    rules = {lane: content[lane]["rules"][0] for lane in ("check", "run")}
    assert all(rule["if"] == GITLAB_FORK for rule in rules.values())
    assert rules["check"]["variables"] == {"CHECK_ARGS": "--no-remote"}
    assert "CHECK_ARGS" in content["check"]["script"][0]
    assert rules["run"]["when"] == "never"
