"""Random and damaged input for every reader of files and texts of unknown origin."""

import importlib.util
import re
import subprocess
import sys
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


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fuzzer", ["hypothesis", pytest.param("atheris", marks=pytest.mark.farm)])
def test_damaged_input_is_refused_in_one_sentence(promise: Try, rounds: Rounds, tmp_path: Path, fuzzer: str) -> None:
    """Whatever a file, an option or a request holds: it is read or refused by an error of the project, within bounds.

    The bounds of an input are CPU_S seconds of CPU time and MEMORY bytes.
    """
    if fuzzer == "atheris" and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has packages for Linux on x86-64 alone")
    seconds = rounds(0, SECONDS)
    sentence = f"Damaged and made-up input from {NAMES[fuzzer]} is read, or refused in one sentence"
    how = f"{KINDS}; at most {MAX_INPUT:,} bytes, {MEMORY:,} bytes of memory, {CPU_S:g} s of CPU each"
    how += f"; {seconds} s in all" if seconds else ""
    log = tmp_path / "log"
    words = [fuzzer, f"--seconds={seconds}", f"--runs={RUNS[fuzzer]}", f"--seed={SEED}"]
    with promise("Hostile input", f"{sentence}.", how) as tried, tried.attempt(f"seed {SEED}"):
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
