"""Whether a process is the one that a file names by its id and command."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.core.code_path import own_command
from flows.engine.processes.process_trees import lives, may_have_command
from tests.conftest import wait_until

PRINT = 'import json, psutil, sys; print(json.dumps([psutil.Process().cmdline(), " ".join(sys.argv)]))'
PYTHON = [sys.executable]


@pytest.mark.parametrize(
    "command",
    [
        [*PYTHON, "a.b/main.py"],
        [*PYTHON, "pack", "run", "--set", "a b=1", ""],
        [*PYTHON, "-m", "pack"],
        [*PYTHON, "-m", "pack.inner", "a.py"],
        [*PYTHON, "-m", "pack.inner"],
        [*PYTHON, "-c", PRINT],
    ],
)
def test_the_command_of_a_process(tmp_path: Path, command: list[str]) -> None:
    """A process has the command that it writes into a file, its `sys.argv`, however Python was called."""
    for name in ("a.b/main.py", "pack/__main__.py", "pack/inner.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(PRINT)
    line, argv = json.loads(subprocess.check_output(command, cwd=tmp_path, text=True))
    assert may_have_command(line, argv)
    assert may_have_command(line, f"{argv} (a (b)/dvc.yaml:stage)")


@pytest.mark.parametrize(
    ("line", "command", "may_have"),
    [
        (["/v/bin/python", "/v/bin/inkflow", "run", "a"], "/v/bin/inkflow run a", True),
        (["/v/bin/python", "/v/bin/inkflow", "run", "a"], "/v/bin/inkflow run a (a)", True),
        (["/v/bin/python", "/v/bin/inkflow", "run", "a"], "/v/bin/dvc repro b", False),
        (["/v/bin/python", "/v/bin/inkflow"], "/v/bin/dvc", False),
        (["python", "-m", "http.server"], "/x/flows/__main__.py", False),
        (["sleep", "600"], "/v/bin/inkflow run", False),
        ([], "/v/bin/inkflow run", False),
        (["sleep", "600"], "", True),  # of an interactive Python
        (own_command("flows.workers.run_fork_server", "7"), "prefect.engine", True),
    ],
)
def test_commands_of_others(line: list[str], command: str, may_have: bool) -> None:
    """A process with another command line is told apart, unless it was forked or the command says nothing."""
    assert may_have_command(line, command) is may_have


def test_a_clock_that_was_set_forward() -> None:
    """A process that seems to have begun after a file named it lives if it has the recorded command."""
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            wait_until(lambda: psutil.Process(process.pid).cmdline() == ["sleep", "600"], timeout_s=60)
            assert lives(process.pid, 1.0, "sleep 600")
            assert not lives(process.pid, 1.0, "inkflow run")
            assert lives(process.pid, 2.0**40, "inkflow run")
        finally:
            process.kill()
    assert not lives(process.pid, 2.0**40, "sleep 600")
