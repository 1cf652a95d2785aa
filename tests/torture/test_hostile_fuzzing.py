"""Random and damaged input for every reader of files and texts of unknown origin."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.root import ROOT
from tests.torture.conftest import Rounds, Try
from tests.torture.support.fuzzing import CPU_S, MAX_INPUT, MEMORY

pytest.importorskip("atheris", reason="atheris has packages for Linux on x86-64 alone")

SEED = 17
RUNS = {"hypothesis": 3, "atheris": 250}  # in `make test`: inputs for each reader, and in all
SECONDS = 600  # in `make torture`: of each fuzzer, both at the same time
EXECUTIONS = re.compile(r"(?:executions: |number_of_executed_units: *)(\d+)")
KINDS = "npz, npy, IDX, CSV, MATLAB, Parquet, pictures, ONNX, requests, params.yaml, execution.yaml, options, records"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_input_is_refused_in_one_sentence(promise: Try, rounds: Rounds, tmp_path: Path) -> None:
    """Whatever a file, an option or a request holds: it is read or refused by an error of the project, within bounds.

    The bounds of an input are CPU_S seconds of CPU time and MEMORY bytes.
    """
    seconds = rounds(0, SECONDS)
    processes = {}
    for fuzzer, runs in RUNS.items():
        words = [fuzzer, f"--seconds={seconds}", f"--runs={runs}", f"--seed={SEED}"]
        log = (tmp_path / f"{fuzzer}.log").open("w+", encoding="utf-8")
        command = [sys.executable, "-m", "tests.torture.support.fuzzing", *words]
        processes[fuzzer] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log), log
    names = {"hypothesis": "Hypothesis", "atheris": "the coverage-guided fuzzer atheris"}
    for fuzzer, (process, log) in processes.items():
        sentence = f"Damaged and made-up input from {names[fuzzer]} is read, or refused in one sentence"
        how = f"{KINDS}; at most {MAX_INPUT:,} bytes, {MEMORY:,} bytes of memory, {CPU_S:g} s of CPU each"
        how += f"; {seconds} s in all" if seconds else ""
        with promise("Hostile input", f"{sentence}.", how) as tried:
            code = process.wait()
            log.seek(0)
            text = log.read()
            log.close()
            with tried.attempt(f"seed {SEED}"):
                assert code == 0, text[-6_000:]
            found = EXECUTIONS.findall(text)
            tried.count(int(found[-1]) if found else 0)
