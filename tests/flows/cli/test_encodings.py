"""Standard output in an encoding that lacks letters: they are escaped, and JSON stays JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base.errors import exit_with
from stages.monitor.command import main as monitor
from stages.predict import score
from tests.conftest import Toy
from tests.support.root import ROOT
from tests.support.watched import digits, write_watched_reader

NAME = "größer 数 😀"
PIPELINE = f"stages:\n  one:\n    desc: {NAME}\n    cmd: echo {NAME}; echo {NAME} > out.txt\n    outs: [out.txt]\n"


def run(encoding: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs `inkflow` with this encoding of its standard streams."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=240)


@pytest.fixture
def alarmed(toy: Toy) -> Toy:
    """A project with the record of a watched model, and a decision whose reason has letters of all kinds."""
    import numpy as np  # late: the other test of this module needs none

    write_watched_reader(toy.folder / "models/reader/model.onnx")
    (toy.folder / "inbox").mkdir()
    np.save(toy.folder / "inbox/inverted.npy", 255 - digits(80))
    assert exit_with(lambda: score.main(["--model=reader", "--folder=inbox", "--out=s.parquet"])) == 0
    assert monitor(["reader", "--acknowledge", NAME]) == 0
    return toy


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.usefixtures("alarmed")
def test_monitor(encoding: str) -> None:
    """The reason of a decision is printed, its letters as escapes where they cannot be; JSON has them in any case."""
    shown = run(encoding, "monitor")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert NAME.encode(encoding, "backslashreplace") in shown.stdout
    decision = json.loads(run(encoding, "monitor", "--json").stdout.decode(encoding))["models"][0]["decisions"][0]
    assert decision["reason"] == NAME


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_runs_and_plans(toy: Toy, encoding: str) -> None:
    """`run` prints the lines of a stage; `plan --json` is JSON, `plan` and an error about a name are text."""
    toy.write({"dvc.yaml": PIPELINE, ".gitignore": "/.inkflow\n"})
    for arguments, code in ((["plan"], 0), (["plan", "--json"], 0), (["plan", NAME], 2), (["run", "--no-server"], 0)):
        done = run(encoding, *arguments)
        assert done.returncode == code and b"Traceback" not in done.stderr, done.stderr
        if "--json" in arguments:
            json.loads(done.stdout.decode(encoding))
    assert NAME.encode(encoding, "backslashreplace") in done.stdout
    assert Path("out.txt").read_text(encoding="utf-8") == f"{NAME}\n"
