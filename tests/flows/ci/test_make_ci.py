"""`make ci` runs all lanes; pull requests of forks do not use the DVC remote."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_only_pull_requests_of_forks_skip_the_remote() -> None:
    """The workflow compares the pull request's repository with its own. The flag `fork` would be wrong: a repository
    that is itself a fork has pull requests of its own.
    """
    text = (ROOT / ".github/workflows/pipeline.yml").read_text()
    assert "head.repo.fork" not in text
    assert "github.event.pull_request.head.repo.full_name != github.repository" in " ".join(text.split())
