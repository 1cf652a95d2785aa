"""The commands of docs/tutorial.md, in a fresh clone: all of them in the farm, those that train nothing always."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.shell_blocks import shell_blocks
from tests.support.installation import tracked_files
from tests.support.own_settings import BIN
from tests.support.root import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
URL = "https://git.example/inkflow"  # the page's name for the server that has the reader's copy
# The set-up downloads packages: in its place, the clone gets the environment of the tests.
MAKE = f'#!/bin/sh\n[ "$1" = setup ] || exit 9\nmkdir .venv && ln -s "{BIN}" .venv/bin\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder whose git finds this project, committed, at the page's address."""
    source, home = tmp_path / "source", tmp_path / "home"
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "make").write_text(MAKE)
    (home / "bin" / "make").chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[url "{source}"]\n\tinsteadOf = {URL}\n[user]\n\tname = a\n\temail = a@b.c\n[init]\n\tdefaultBranch = main\n'
    )
    environment = os.environ | {"GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=source, env=environment, check=True)
    return home


def run(commands: str, home: Path) -> str:
    """Runs commands in one shell, in the home folder, and returns what they printed."""
    settings = {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(home / "inkflow"),  # the clone's code runs, not this one's
        "PREFECT_HOME": str(home / "prefect"),
        "MPLCONFIGDIR": str(home),
        "INKFLOW_MIRROR": "",
        "COLUMNS": "200",
    }
    log = home / "commands.log"
    with log.open("w") as stream:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-xc", commands],
            cwd=home,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    assert done.returncode == 0, log.read_text()[-4000:]
    return log.read_text()


@pytest.mark.slow
@pytest.mark.farm
@pytest.mark.timeout(1800)
def test_every_command_of_the_tutorial(home: Path) -> None:
    """From the clone to a committed model: the page's own commands, one after another, print what the page says."""
    printed = run("\n".join(shell_blocks(PAGE)), home)
    shown = "\n".join(line for line in printed.splitlines() if not line.startswith("+"))
    steps = [
        "16 of 16 stages ran",
        "Nothing to do: all 16 stages are unchanged.",
        "4 of 16 stages ran",
        "0 of 16 stages ran, 4 restored",
        "1,200 training and 300 test images",
        "nothing was written (--dry-run)",
        "use it: inkflow run --dataset letters",
        "16 of 16 stages ran",
        "10 of 18 stages ran",
        "letters/A/1.png  A",
        "image 0: ",
        "Nothing to do: all 18 stages are unchanged.",
    ]
    for step in steps:
        assert step in shown, f"{step!r} is not printed, or too early: {shown[-2000:]}"
        shown = shown.partition(step)[2]


@pytest.mark.farm
@pytest.mark.slow
def test_the_commands_that_train_nothing(home: Path) -> None:
    """A fresh clone is set up, and the letters are drawn, looked at and added on a branch, as on the page."""
    setup, data = shell_blocks(PAGE)[0], [block for block in shell_blocks(PAGE) if "data add" in block]
    (branch,) = (block for block in shell_blocks(PAGE) if "git switch" in block)
    add = data[1].splitlines()[0]
    printed = run("\n".join([setup, branch, data[0], add, "inkflow plan prepare", "git status --short --branch"]), home)
    assert "## letters\n M params.yaml" in printed
    assert "1,200 training and 300 test images, 28 x 28, grey" in printed
    assert "use it: inkflow run --dataset letters" in printed
    assert (home / "inkflow" / "letters.png").is_file() and (home / "inkflow" / "data/own/letters.npz").is_file()
