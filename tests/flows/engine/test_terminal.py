"""The output of a run: to a terminal, to a reader that goes away, and to Prefect."""

import io
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from flows.cli import interactive_run
from flows.cli.main import main
from flows.dvc_repo.repository import Repository
from flows.engine.display.live import LiveDisplay
from flows.engine.engine import Engine
from flows.engine.run import Run
from flows.engine.types import Outcome, Result
from tests.conftest import Inkflow, Toy, wait_until
from tests.flows.engine.graphs import CHAIN
from tests.flows.engine.helpers import status
from tests.flows.engine.test_interruption import slow
from tests.support.prefect_api import api
from tests.support.root import ROOT

TO_STANDARD_OUTPUT = """
from flows.dvc_repo.repository import Repository
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Run
repository = Repository()
engine = Engine(repository, Policies(), Run(display=Display()))
engine.start(repository.stages())
engine.wait()
print("the end")
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


@pytest.mark.farm
def test_reader_goes_away(toy: Toy) -> None:
    """With `| head -1`, the run completes, however much its stages print."""
    toy.write({"dvc.yaml": "stages:\n  a: {cmd: seq -f %0100g 3000; cp in a, deps: [in], outs: [a]}\n", "in": "one\n"})
    command = [sys.executable, "-c", TO_STANDARD_OUTPUT]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            code = process.wait(timeout=240)
        finally:
            process.kill()
        assert process.stderr is not None
        assert (code, process.stderr.read()) == (0, b"")
    assert status() == {}


@contextmanager
def live() -> Iterator[tuple[LiveDisplay, io.StringIO]]:
    """Yields a live display and the stream to which it writes."""
    stream = io.StringIO()
    display = LiveDisplay(["train", "eval"], Console(file=stream, force_terminal=True, width=100))
    try:
        yield display, stream
    finally:
        display.close()


def test_progress_bars() -> None:
    """Each running stage has one progress bar with its steps below the lines, also after a failed attempt."""
    with live() as (display, stream):

        def show(train: int, eval: int, *, step: bool) -> None:
            """Waits until the bars below the last line are these: a thread draws them ten times a second."""

            def are_drawn() -> bool:
                display.note("a note")
                text = stream.getvalue().rpartition("a note")[2].partition("\r")[0]
                return (text.count("train"), text.count("eval"), "3 of 10" in text) == (train, eval, step)

            wait_until(are_drawn, timeout_s=60)

        display.started("train", None)
        display.line("train", "epoch 3 of 10")
        show(train=1, eval=0, step=True)
        display.started("train", None)
        display.started("eval", 7.0)
        show(train=1, eval=1, step=False)
        display.result(Result("train", Outcome.RAN))
        show(train=0, eval=1, step=False)
        display.failure("eval", "eval failed: no memory")
        show(train=0, eval=0, step=False)
    assert stream.getvalue().rfind(SHOW) > stream.getvalue().rfind(HIDE) >= 0


@pytest.mark.farm
@pytest.mark.server
@pytest.mark.parametrize("when", ["loading", pytest.param("running", marks=pytest.mark.farm)])
def test_cursor_after_ctrl_c(toy: Toy, prefect_url: str, when: str) -> None:
    """Ctrl-C on a terminal restores the cursor, also while Prefect loads."""
    toy.write(slow(600))
    terminal, child_side = pty.openpty()
    environment = os.environ | {"PREFECT_API_URL": prefect_url, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    chunks: list[bytes] = []
    command = [sys.executable, "-m", "flows", "run"]
    with subprocess.Popen(command, env=environment, stdout=child_side, stderr=subprocess.PIPE) as process:
        os.close(child_side)
        reader = threading.Thread(target=read_all, args=(terminal, chunks))
        reader.start()
        wait_until(lambda: HIDE.encode() in b"".join(chunks), timeout_s=60)
        if when == "running":
            wait_until(lambda: toy.runs("slow-p") == 1, timeout_s=60)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(8)  # Prefect is loaded by then
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=240)
        reader.join(240)
    os.close(terminal)
    screen = b"".join(chunks).decode()
    assert process.returncode == 130, screen
    assert screen.rfind(SHOW) > screen.rfind(HIDE) >= 0


def test_cursor_after_an_interrupt_before_the_first_stage(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupt, or an error, before the engine starts leaves the cursor as it was."""

    def interrupt(repository: Repository, run: Run) -> Engine:
        raise KeyboardInterrupt

    toy.write(CHAIN)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(interactive_run, "is_live_terminal", lambda: True)
    monkeypatch.setattr(interactive_run, "make_engine", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main(["run", "--no-server"])
    screen = capsys.readouterr().out
    assert screen.rfind(SHOW) > screen.rfind(HIDE) >= 0


def read_all(terminal: int, chunks: list[bytes]) -> None:
    """Reads until the other side is closed, which a terminal reports with an error."""
    try:
        while data := os.read(terminal, 65536):
            chunks.append(data)
    except OSError:
        return


STEPS = """
stages:
  good: {cmd: echo epoch 3 of 10; cp in good, deps: [in], outs: [good]}
  bad: {cmd: echo epoch 3 of 10; exit 1, deps: [in], outs: [bad]}
"""


@pytest.mark.farm
@pytest.mark.server
def test_progress_in_prefect(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """Prefect shows a stage that succeeded at 100 %, and a failed one at its last progress."""
    toy.write({"dvc.yaml": STEPS, "in": "one\n"})
    assert inkflow("run", "--keep-going", folder=toy.folder).returncode == 1
    query = {"artifacts": {"key": {"any_": ["progress-good", "progress-bad"]}}}
    artifacts = api(prefect_url, "POST", "/artifacts/filter", query)
    assert {artifact["key"]: artifact["data"] for artifact in artifacts} == {
        "progress-good": 100.0,
        "progress-bad": 30.0,
    }


@pytest.mark.server
@pytest.mark.farm
def test_many_lines_in_prefect(toy: Toy, inkflow: Inkflow, prefect_url: str) -> None:
    """Prefect gets each line of a stage once, however many there are, and the run ends without messages of Prefect."""
    toy.write({"dvc.yaml": "stages:\n  many: {cmd: seq -f 'many %.0f' 20000; cp in many, deps: [in], outs: [many]}\n"})
    toy.write({"in": "one\n"})
    done = inkflow("run", folder=toy.folder)
    assert (done.returncode, done.stderr) == (0, "")
    messages: list[str] = []
    while len(page := read_logs(prefect_url, offset=len(messages))) == 200:
        messages += page
    lines = "\n".join([*messages, *page]).splitlines()
    assert [line for line in lines if line.startswith("many ")] == [f"many {number}" for number in range(1, 20001)]


def read_logs(url: str, offset: int) -> list[str]:
    """Returns a page of the log of the newest run of a task `many`."""
    tasks = {"task_runs": {"name": {"any_": ["many"]}}, "sort": "ID_DESC"}
    (task, *_) = api(url, "POST", "/task_runs/filter", tasks)
    query = {"logs": {"task_run_id": {"any_": [task["id"]]}}, "sort": "TIMESTAMP_ASC", "offset": offset, "limit": 200}
    return [log["message"] for log in api(url, "POST", "/logs/filter", query)]


class RefusingHandler(BaseHTTPRequestHandler):
    """Refuses every request."""

    def do_POST(self) -> None:
        """Sends 403."""
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_progress_that_a_server_refuses() -> None:
    """An artifact that cannot be created is logged once, and does not fail the task."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # late: Prefect reads its settings at import

    from flows.tasks.progress_artifact import ProgressArtifact

    messages: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), RefusingHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            progress = ProgressArtifact("train", messages.append)
            progress.update("epoch 1 of 2")
            progress.update("epoch 2 of 2")
            progress.close()
    finally:
        server.shutdown()
        server.server_close()
    assert len(messages) == 1
    assert messages[0].startswith("the progress of train cannot be shown: ")
