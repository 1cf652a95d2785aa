"""The output of stages: complete for a slow reader; its last lines are in the message; no run waits for it for ever."""

import getpass
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows.core.errors import StageFailed, StageTimedOut
from flows.core.signals import repair_inherited_state
from flows.engine import stage_events
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display
from flows.engine.processes.command_runner import CommandRunner
from flows.engine.stage_events import StageEvents
from flows.engine.types import Command, Outcome, Result, Stage
from tests.conftest import Toy, run_engine, wait_until
from tests.flows.engine.helpers import RecordingDisplay, stage_processes, succeeded
from tests.support.commands import run_python
from tests.support.root import ROOT

RUN = """
import sys
from flows.dvc_repo.repository import Repository
from flows.engine.display.buffered import BufferedDisplay
from flows.engine.display.plain import Display
from flows.engine.engine import Engine
from flows.engine.policy import Policies
from flows.engine.run import Run
repository = Repository()
run = Run(display=BufferedDisplay(Display()))
engine = Engine(repository, Policies(), run)
engine.start(repository.stages())
engine.wait()
run.display.note("the end")
run.display.close()
sys.exit(str(run.error) if run.error else 0)
"""


def unread_run(toy: Toy, command: str) -> "subprocess.Popen[str]":
    """Starts a run of one stage whose output nobody reads yet."""
    toy.write({"dvc.yaml": f"stages:\n  a: {{cmd: {command}, outs: [a]}}\n"})
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", RUN], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_reader_that_comes_late(toy: Toy) -> None:
    """A stage is recorded although nobody has read its output yet, and a late reader gets all of it."""
    with unread_run(toy, "seq -f 'a line that is forty characters long %05.0f' 2000; echo 1 > a") as process:
        wait_until(lambda: (toy.folder / "dvc.lock").exists(), timeout_s=120)
        out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    assert [line for line in out.splitlines() if " long " in line and ">" not in line] == [
        f"  a | a line that is forty characters long {number:05}" for number in range(1, 2001)
    ]
    assert out.splitlines()[-1] == "the end"


@pytest.mark.parametrize("end", ["http://h/lab?token=abcdef", "\033[", "dXNlcjpzZWNyZXQtd29yZA", "50 %\r", "secret-\r"])
def test_end_that_masking_changes(toy: Toy, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage ends, and its next command runs, whatever the unfinished last line of its output holds."""
    monkeypatch.setenv("MY_SECRET", "secret-word")
    (toy.folder / "end").write_bytes(end.encode())
    toy.write({"dvc.yaml": "stages:\n  a:\n    cmd: [cat end, echo 1 > a]\n    deps: [end]\n    outs: [a]\n"})
    display = RecordingDisplay()
    assert succeeded(run_engine(display=display)) and toy.read("a") == "1\n"
    assert not any("abcdef" in line or "dXNl" in line for line in display.lines if not line.startswith("> "))


@pytest.mark.farm
def test_much_output_then_a_failure(toy: Toy) -> None:
    """After 50,000 lines to a reader that comes late, the reason is the last line of the stage and in the message."""
    with unread_run(toy, "seq 50000; echo the real reason; exit 3") as process:
        wait_until(lambda: bool(stage_processes(toy.folder)), timeout_s=120)
        out, err = process.communicate(timeout=240)
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("  a | ")][2:] == [
        *(f"  a | {number}" for number in range(1, 50001)),
        "  a | the real reason",
    ]
    assert (process.returncode, err) == (1, "a failed (exit code 3): the real reason\n")


def run_lines(folder: Path, *lines: str, timeout_s: float = 240.0, has_room: bool = True) -> list[str]:
    """Runs a command of several lines, and returns its output."""
    output: list[str] = []

    def wait_for_room(wait_s: float) -> bool:
        time.sleep(0 if has_room else wait_s)
        return has_room

    runner = CommandRunner(folder, wait_for_room=wait_for_room)
    runner.run(Command("a", lines, str(folder), {"DVC_STAGE": "a"}), output.append, timeout_s)
    assert stage_processes(folder) == []
    return output


def test_display_without_room(toy: Toy) -> None:
    """The end of a stage does not wait for the display: what the stage has written is read nevertheless."""
    assert run_lines(toy.folder, "seq 3000; printf end", has_room=False)[1:] == [*map(str, range(1, 3001)), "end"]


@pytest.mark.farm
def test_background_process_between_lines(toy: Toy) -> None:
    """A background process of one line of a command lives until the last line has ended, and no longer."""
    toy.write({"dvc.yaml": "stages:\n  a:\n    cmd: [sleep 60 & echo $! > pid, kill -0 $(cat pid); echo 1 > a]\n"})
    succeeded(run_engine())
    lines = ["sleep 60 & echo $! > pid; printf first", "kill -0 $(cat pid) && echo alive"]
    assert run_lines(toy.folder, *lines) == [f"> {lines[0]}", "first", f"> {lines[1]}", "alive"]
    with pytest.raises(StageFailed, match=r"exit code 3\): it printed no message"):
        run_lines(toy.folder, "(trap '' TERM; sleep 60) & echo 'error: of the first line'", "exit 3")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "━"), ("utf-8", "━"), ("gb18030", "鈹�")])
def test_encodings_of_the_locale(toy: Toy, monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str) -> None:
    """Without one, output is UTF-8, which Python then writes; half a character at the end swallows no later text."""
    monkeypatch.setattr("locale.getencoding", lambda: encoding)
    assert run_lines(toy.folder, r"printf '\342\224\201'", r"printf '\342'", "echo next")[1::2] == [shown, "�", "next"]


def test_no_command_after_the_time_limit(toy: Toy) -> None:
    """A shell whose program is terminated does not go on with its next command."""
    for timeout_s in (0.5, 4.0, 60.0):  # on a busy machine a shell does not start within a second
        with pytest.raises(StageTimedOut):
            run_lines(
                toy.folder, "echo > started; sleep 900; echo > next; sleep 900", "echo > next", timeout_s=timeout_s
            )
        assert not (toy.folder / "next").exists()
        if (toy.folder / "started").exists():
            break
    assert (toy.folder / "started").exists()


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/does/not/exist"])
def test_account_without_a_shell(toy: Toy, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    """/bin/sh runs the stages of an account whose shell runs no commands, as that of a service."""
    monkeypatch.setenv("SHELL", shell)
    assert run_lines(toy.folder, "echo done")[1:] == ["done"]


@pytest.mark.parametrize(("receipt", "expected"), [("uv-receipt.toml", "own"), ("pyvenv.cfg", "Inkflow's")])
def test_python_of_a_stage(toy: Toy, monkeypatch: pytest.MonkeyPatch, receipt: str, expected: str) -> None:
    """A stage finds the caller's `python` if Inkflow is a tool in an environment of its own, else Inkflow's."""
    toy.write({f"environment/{receipt}": "", "bin/python": "#!/bin/sh\necho own\n"})
    (toy.folder / "bin/python").chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(toy.folder / "environment"))
    monkeypatch.setenv("PATH", f"{toy.folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert run_lines(toy.folder, """python -c 'print("Inkflow" + chr(39) + "s")'""")[1:] == [expected]


def test_reader_that_never_reads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted run does not wait for a reader that does not read, and says how many lines were left out."""
    read_end, write_end = os.pipe()
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # the display replaces it
    stream = os.fdopen(write_end, "w")
    display = BufferedDisplay(Display(stream=stream))
    try:
        for _ in range(1000):
            display.line("a", "x" * 1000)
        assert not display.wait_for_room(0.0)
        display.close(timeout_s=0.5)
        count, _, text = capsys.readouterr().err.partition(" ")
        assert text == "lines of output were left out, since their reader does not read\n"
        assert 800 < int(count) <= 1000
    finally:
        reader = threading.Thread(target=read_all, args=[read_end])
        reader.start()
        wait_until(lambda: display.wait_for_room(1.0), timeout_s=60)
        wait_until(lambda: not display._thread.is_alive(), timeout_s=60)
        stream.close()
        sys.stdout.close()
        reader.join(240)


def read_all(descriptor: int) -> None:
    """Reads a pipe to its end."""
    with os.fdopen(descriptor, "rb") as stream:
        while stream.read(65536):
            pass


def followed(events: StageEvents) -> list[str]:
    """Returns the texts that a follower gets."""
    texts: list[str] = []
    assert events.follow(texts.append) == Result("a", Outcome.RAN)
    return texts


def test_many_lines_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower gets each line once: few lines one by one, many joined; those that are left out are counted."""
    for count, most in ((100, 100), (50_000, 40)):
        events = StageEvents(Stage("a"))
        for number in range(count):
            events.put(str(number))
        events.put(Result("a", Outcome.RAN))
        texts = followed(events)
        assert "\n".join(texts).split("\n") == [str(number) for number in range(count)]
        assert len(texts) <= most
    monkeypatch.setattr(stage_events, "MAX_WAITING", 10)
    for number in range(100):
        events.put(str(number))
    events.put(Result("a", Outcome.RAN))
    assert followed(events) == [
        "91 lines of output are left out here: there were more than 10 at a time",
        *(str(number) for number in range(91, 100)),
    ]


WAITS = """
import os, signal, threading
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
from flows.core.signals import call_in_thread, exit_now, raise_keyboard_interrupt
raise_keyboard_interrupt()
def action():
    print("started", flush=True)
    threading.Event().wait()  # as for a lock that is never released
try:
    call_in_thread(action)
except KeyboardInterrupt:
    exit_now(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_during_an_import(number: signal.Signals) -> None:
    """A signal ends a wait for an import at once, even if the import never ends."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", WAITS], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        try:
            assert process.wait(240) == 130
        finally:
            process.kill()


def test_second_signal() -> None:
    """A second signal does not end the clean-up that the first one started."""
    code = """
import os, signal
from flows.core.signals import raise_keyboard_interrupt
raise_keyboard_interrupt()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    print("cleaned up")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "cleaned up\n"


@pytest.mark.parametrize("call", ["flows.core.signals.raise_keyboard_interrupt", "flows.prefect_server.up._stop_event"])
def test_nohup(call: str) -> None:
    """SIGHUP stays ignored if the caller ignores it, also by `inkflow up`."""
    module, _, function = call.rpartition(".")
    code = f"import signal; signal.signal(1, signal.SIG_IGN); from {module} import {function} as f; f()"
    assert run_python("-c", f"{code}; print(signal.getsignal(1) == 1)").stdout == "True\n"


def test_account_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that is in no list of users gets a home that nobody else can read, and a name; one alone too."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(2):
        repair_inherited_state()
        assert Path.home() == tmp_path / f"inkflow-home-{os.getuid()}"
        assert Path.home().stat().st_mode & 0o777 == 0o700
        assert getpass.getuser() == str(os.getuid())
    monkeypatch.delenv("LOGNAME")
    monkeypatch.setenv("HOME", "/")  # as `docker run --user 1001` sets it
    repair_inherited_state()
    assert (str(Path.home()), getpass.getuser()) == ("/", str(os.getuid()))
