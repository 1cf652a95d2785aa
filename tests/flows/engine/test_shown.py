"""What a run shows, on a terminal, to a reader that goes away, and in Prefect."""

import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from rich.console import Console

from flows.engine.display.live import LiveDisplay
from flows.engine.display.plain import Display
from flows.engine.types import Outcome, Result
from tests.conftest import Inkflow, Toy, wait_until
from tests.flows.engine.test_ends import slow
from tests.flows.engine.toys import status
from tests.support.root import ROOT

TO_STANDARD_OUTPUT = """
from flows.engine.display.plain import Display
from flows.dvc_repo.repository import Repository
from flows.engine import Engine
from flows.engine.run import Options, Session
from flows.engine.policy import Policies
engine = Engine(Repository(), Policies(), Session(Display()), Options())
engine.start([])
list(engine.watches())
engine.close()
print("the end")
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


def test_reader_goes_away(toy: Toy) -> None:
    """`inkflow run | head -1`: the run goes on to its end, however much its stages say."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: seq -f %0100g 3000; cp in a, deps: [in], outs: [a]}\n", "in": "one\n"})
    command = [sys.executable, "-c", TO_STANDARD_OUTPUT]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            code = process.wait(timeout=60)
        finally:
            process.kill()
        assert process.stderr is not None
        assert (code, process.stderr.read()) == (0, b"")
    assert status() == {}


def test_characters_that_a_terminal_lacks() -> None:
    """What the encoding of standard output cannot show is replaced."""
    bytes_ = io.BytesIO()
    stream = io.TextIOWrapper(bytes_, encoding="ascii")
    Display(stream=stream).note("epochs 5 → 3")
    assert bytes_.getvalue() == b"epochs 5 ? 3\n"


@contextmanager
def live() -> Iterator[tuple[LiveDisplay, io.StringIO]]:
    """A live display, and what it writes to its terminal."""
    stream = io.StringIO()
    display = LiveDisplay(["train", "eval"], Console(file=stream, force_terminal=True, width=100))
    try:
        yield display, stream
    finally:
        display.close()


def test_rows() -> None:
    """Below the lines stands a row for each stage that runs, with its steps; one that is tried again has one."""
    with live() as (display, stream):

        def rows() -> str:
            time.sleep(0.5)  # they are drawn ten times a second
            display.note("a mark")
            return stream.getvalue().rpartition("a mark")[2].partition("\r")[0]

        display.started("train", None)
        display.line("train", "epoch 3 of 10")
        below = rows()
        assert (below.count("train"), "3 of 10" in below) == (1, True)
        display.started("train", None)
        display.started("eval", 7.0)
        below = rows()
        assert (below.count("train"), below.count("eval"), "3 of 10" in below) == (1, 1, False)
        display.result(Result("train", Outcome.RAN))
        below = rows()
        assert (below.count("train"), below.count("eval")) == (0, 1)
        display.failure("eval", "eval failed: no memory")
        assert "eval" not in rows()
    assert stream.getvalue().rfind(SHOW) > stream.getvalue().rfind(HIDE) >= 0


@pytest.mark.server
@pytest.mark.parametrize("when", ["loading", "running"])
def test_cursor_after_ctrl_c(toy: Toy, prefect_url: str, when: str) -> None:
    """Ctrl-C on a terminal gives the cursor back, also while Prefect is loading."""
    toy.write(slow(60))
    terminal, ours = pty.openpty()
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    shown: list[bytes] = []
    command = [sys.executable, "-m", "flows", "run"]
    with subprocess.Popen(command, env=environment, stdout=ours, stderr=subprocess.PIPE) as process:
        os.close(ours)
        reader = threading.Thread(target=read_all, args=(terminal, shown))
        reader.start()
        wait_until(lambda: HIDE.encode() in b"".join(shown), timeout_s=60)
        if when == "running":
            wait_until(lambda: toy.runs("slow-p") == 1, timeout_s=60)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(8)  # Prefect is loaded by then
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        reader.join(10)
    os.close(terminal)
    screen = b"".join(shown).decode()
    assert process.returncode == 130, screen
    assert screen.rfind(SHOW) > screen.rfind(HIDE) >= 0


def read_all(terminal: int, shown: list[bytes]) -> None:
    """Read until the other side is closed, which a terminal says by an error."""
    try:
        while data := os.read(terminal, 65536):
            shown.append(data)
    except OSError:
        return


STEPS = """
stages:
  good: {cmd: echo epoch 3 of 10; cp in good, deps: [in], outs: [good]}
  bad: {cmd: echo epoch 3 of 10; exit 1, deps: [in], outs: [bad]}
"""


@pytest.mark.server
def test_progress_in_prefect(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """Prefect shows a stage that ended well at 100 %, and one that failed as far as it came."""
    toy.write({"dvc.yaml": STEPS, "in": "one\n"})
    assert inkflow("run", "--keep-going", folder=toy.folder).returncode == 1
    wanted = {"artifacts": {"key": {"any_": ["progress-good", "progress-bad"]}}}
    found = httpx.post(f"{prefect_url}/artifacts/filter", json=wanted).raise_for_status().json()
    assert {artifact["key"]: artifact["data"] for artifact in found} == {"progress-good": 100.0, "progress-bad": 30.0}


class Refusing(BaseHTTPRequestHandler):
    """A server that has nothing for anybody."""

    def do_POST(self) -> None:
        """Refuse."""
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_progress_that_a_server_refuses() -> None:
    """An artifact that cannot be made is said once, and is no failure of the task."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # late: it reads its settings when it is loaded

    from flows.tasks.progress_artifact import ProgressArtifact

    said: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            progress = ProgressArtifact("train", said.append)
            progress.update("epoch 1 of 2")
            progress.update("epoch 2 of 2")
            progress.close()
    finally:
        server.shutdown()
        server.server_close()
    assert len(said) == 1
    assert said[0].startswith("the progress of train cannot be shown: ")
