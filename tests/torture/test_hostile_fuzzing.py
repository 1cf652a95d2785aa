"""Random and damaged input for every reader of files and texts of unknown origin."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.base.errors import InvalidInput
from tests.support.root import ROOT
from tests.torture.conftest import Rounds, Try
from tests.torture.support import fuzzing
from tests.torture.support.fuzzing import CPU_S, MAX_INPUT, MEMORY, Broken, Fuzzed
from tests.torture.support.hostile_files import Read, Target

SEED = 17
NAMES = {"hypothesis": "Hypothesis", "atheris": "the coverage-guided fuzzer atheris"}
RUNS = {"hypothesis": 3, "atheris": 1}  # in `make test`: inputs for each reader, and in all beside the valid ones
SECONDS = 600  # in `make torture`, of each fuzzer
START_S = 600  # for the imports, the valid inputs and the last input, on a busy machine
EXECUTIONS = re.compile(r"(?:executions: |number_of_executed_units: *)(\d+)")
KINDS = "npz, npy, IDX, CSV, MATLAB, Parquet, pictures, ONNX, requests, params.yaml, execution.yaml, options, records"
GREEDY = """
import sys
from pathlib import Path

from stages.base.errors import InvalidInput
from tests.torture.support.fuzzing import Fuzzed, limit_memory
from tests.torture.support.hostile_files import Target

def read(content, folder):
    try:
        bytearray(100_000_000 * len(content))
    except MemoryError as error:
        raise InvalidInput("a sentence") from error

fuzzed = Fuzzed({"greedy": Target(read, lambda _: [])}, Path(sys.argv[1]))
limit_memory()
fuzzed.run("greedy", bytes(5))
print("500 MB were read", flush=True)
fuzzed.run("greedy", bytes(20))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fuzzer", ["hypothesis", pytest.param("atheris", marks=pytest.mark.farm)])
def test_damaged_input_is_refused_in_one_sentence(promise: Try, rounds: Rounds, tmp_path: Path, fuzzer: str) -> None:
    """Whatever a file, an option or a request holds: it is read or refused by an error of the project, within bounds.

    The bounds of an input are CPU_S seconds of CPU time and MEMORY bytes. No file outside the reader's folder is
    read, written or removed, and no program is started, as far as Python does it.
    """
    if fuzzer == "atheris" and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has packages for Linux on x86-64 alone")
    seconds = rounds(0, SECONDS)
    sentence = f"Damaged and made-up input from {NAMES[fuzzer]} is read, or refused in one sentence."
    how = f"{KINDS}; at most {MAX_INPUT:,} bytes, {MEMORY:,} bytes of memory, {CPU_S:g} s of CPU each"
    how += ", no program and no file outside the reader's folder, as far as Python does it"
    how += f"; {seconds} s in all" if seconds else ""
    log = tmp_path / "log"
    words = [fuzzer, f"--seconds={seconds}", f"--runs={RUNS[fuzzer]}", f"--seed={SEED}"]
    with promise("Hostile input", sentence, how) as tried, tried.verdict(f"seed {SEED}"):
        code = _call([sys.executable, "-m", "tests.torture.support.fuzzing", *words], log, seconds + START_S)
        text = log.read_text(encoding="utf-8", errors="replace")
        found = EXECUTIONS.findall(text)
        tried.count(int(found[-1]) if found else 0)
        assert code == 0, text[-6_000:]
        assert found, f"{fuzzer} does not say how often it has called the readers: {text[-6_000:]}"


def _call(command: list[str], log: Path, limit_s: float) -> int:
    """Returns the exit code of a program whose output goes to `log`.

    Raises:
        subprocess.TimeoutExpired: it did not end, and was killed.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    try:
        return process.wait(limit_s)
    finally:
        process.kill()
        process.wait()


def _loop(content: bytes, folder: Path) -> None:
    while content:
        pass


def _loop_that_is_refused(content: bytes, folder: Path) -> None:
    try:
        _loop(content, folder)
    except Exception as error:
        raise InvalidInput("a sentence") from error


@pytest.mark.parametrize("read", [_loop, _loop_that_is_refused])
def test_a_reader_that_loops_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    """An endless loop breaks the promise after its processor time, even if the reader takes it for a bad file."""
    monkeypatch.setattr(fuzzing, "CPU_S", 0.2)
    fuzzed = Fuzzed({"loop": Target(read, lambda _: [])}, tmp_path)
    with pytest.raises(Broken, match=r"took more than 0\.2 s of CPU time: loop on b'x'"):
        fuzzed.run("loop", b"x")
    fuzzed.run("loop", b"")


def test_a_fuzzer_that_hangs_is_killed(tmp_path: Path) -> None:
    """A program that does not end, in a library of C for example, ends the attempt and does not stay."""
    log = tmp_path / "log"
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        _call([sys.executable, "-c", program], log, 2)
    number = log.read_text().strip()
    assert not number or not Path("/proc", number).exists()


@pytest.mark.farm
def test_a_reader_that_takes_2_gb_is_stopped(tmp_path: Path) -> None:
    """The bound of memory breaks the promise, even if the reader tells it in a sentence; half of it is allowed."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the memory of a process, and the fuzzers have no bound here")
    command = [sys.executable, "-c", GREEDY, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False)
    assert result.stdout == "500 MB were read\n", result.stderr
    assert "Broken: more memory than the bound: greedy on" in result.stderr, result.stderr


OUTSIDE = "outside"


def _write_inside(content: bytes, folder: Path) -> None:
    (folder / "inside").write_bytes(content)
    (folder / "inside").rename(folder / "moved")
    (folder / "link").symlink_to(OUTSIDE)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        shutil.copy(folder / "moved", temporary)
        (Path(temporary) / "deep" / "deeper").mkdir(parents=True)
    (folder / "link").unlink()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
    with Path("/dev/null").open("wb") as null:
        null.write(content)


def _read_link(folder: Path) -> None:
    (folder / "link").symlink_to(Path("..", OUTSIDE))
    (folder / "link").read_bytes()


def _remove_by_folder(folder: Path) -> None:
    top = os.open(folder.parent, os.O_RDONLY)
    try:
        os.unlink(OUTSIDE, dir_fd=top)
    finally:
        os.close(top)


DEEDS: dict[str, tuple[Callable[[Path], object], str]] = {  # what a reader does in its folder, and what is noticed
    "writes": (lambda folder: (folder.parent / OUTSIDE).write_bytes(b""), "wrote .*/outside"),
    "reads": (lambda folder: (folder.parent / OUTSIDE).read_bytes(), "read .*/outside"),
    "reads by os.open": (lambda folder: os.close(os.open(folder / ".." / OUTSIDE, os.O_RDONLY)), "read .*/outside"),
    "reads a link": (_read_link, "read .*/outside"),
    "reads what is not there": (lambda _: Path("/etc/none").read_bytes(), "read /etc/none"),
    "reads the parameters of the project": (lambda _: (ROOT / "params.yaml").read_bytes(), "read .*/params.yaml"),
    "lists": (lambda folder: list(folder.parent.iterdir()), "read .*"),
    "removes": (lambda folder: (folder.parent / OUTSIDE).unlink(), "os.remove .*/outside"),
    "removes by an open folder": (_remove_by_folder, "read .*"),
    "moves it away": (lambda folder: (folder.parent / OUTSIDE).rename(folder / "in"), "os.rename .*/outside"),
    "makes a folder": (lambda folder: (folder.parent / "new").mkdir(), "os.mkdir .*/new"),
    "removes a folder": (lambda folder: (folder.parent / "empty").rmdir(), "os.rmdir .*/empty"),
    "removes a tree": (lambda folder: shutil.rmtree(folder.parent / "empty"), "read .*/empty"),
    "makes a link": (lambda folder: (folder.parent / "new").symlink_to("a"), "os.symlink .*/new"),
    "links": (lambda folder: os.link(folder.parent / OUTSIDE, folder / "in"), "os.link .*/outside"),
    "empties": (lambda folder: os.truncate(folder.parent / OUTSIDE, 0), "os.truncate .*/outside"),
    "changes rights": (lambda folder: (folder.parent / OUTSIDE).chmod(0o600), "os.chmod .*/outside"),
    "starts a program": (lambda _: subprocess.run([sys.executable, "-c", ""], check=True), r"subprocess\.Popen .*"),
    "asks for a name": (lambda _: socket.getaddrinfo("localhost", 80), r"socket\.getaddrinfo .*"),
}


@pytest.mark.parametrize("name", DEEDS)
def test_a_reader_that_uses_files_outside_or_starts_a_program_is_noticed(tmp_path: Path, name: str) -> None:
    """A file outside the reader's folder that is read, written, renamed or removed breaks the promise."""
    do, noticed = DEEDS[name]
    (tmp_path / OUTSIDE).write_bytes(b"a")
    (tmp_path / "empty").mkdir()
    fuzzed = Fuzzed({"r": Target(lambda content, folder: content and do(folder), lambda _: [], (OSError,))}, tmp_path)
    with pytest.raises(Broken, match=f"^{noticed}: r on b'x'"):
        fuzzed.run("r", b"x")


def test_a_reader_may_use_its_own_folder(tmp_path: Path) -> None:
    """What a reader writes, moves, links and removes in its folder keeps the promise, as do its temporary files."""
    fuzzed = Fuzzed({"r": Target(_write_inside, lambda _: [])}, tmp_path)
    fuzzed.run("r", b"x")
