"""`inkflow predict` as a process: time and memory, closed pipes, full devices, imports."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.pictures import encoded, npy, scan, template, write_reader
from tests.support.root import ROOT

# Runs the command, and prints the peak of its memory and the imported packages.
MEASURE_PROGRAM = """
import sys
from pathlib import Path
from flows.cli.main import main
code = main(sys.argv[1:])
packages = sorted({name.split(".")[0] for name in sys.modules})
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]  # in KiB
print(peak, *packages, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the model `reader`."""
    monkeypatch.chdir(tmp_path)
    write_reader(tmp_path / "models/reader/model.onnx")
    return tmp_path


def call(work: Path, *arguments: str, **options: bytes) -> subprocess.CompletedProcess[bytes]:
    """Runs `inkflow predict` as a process that also prints its peak of memory and its imports."""
    command = [sys.executable, "-c", MEASURE_PROGRAM, "predict", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=600, **options)  # type: ignore[call-overload,no-any-return]


def test_one_picture_is_light(work: Path) -> None:
    """One PNG, from a file and from standard input, takes less than 250 MB, and imports no TensorFlow or pandas.

    benchmarks/predict.py measures the time.
    """
    (work / "seven.png").write_bytes(encoded(scan(7, 1), "PNG"))
    run = call(work, "reader", "seven.png", "-", input=(work / "seven.png").read_bytes())
    assert b"\n  seven.png  7" in run.stdout and b"\n  -          7" in run.stdout
    memory, *imported = run.stderr.decode().split()
    assert int(memory) * 1024 < 250e6
    assert set(imported).isdisjoint({"tensorflow", "keras", "pandas", "pyarrow", "scipy", "sklearn", "prefect", "dvc"})


@pytest.mark.farm
def test_memory_does_not_grow(work: Path) -> None:
    """60,000 images take at most 30 MB more memory than 6,000."""
    random = np.random.default_rng(1)
    peaks = []
    for count in (6_000, 60_000):
        (work / "x.npy").write_bytes(npy(random.integers(0, 256, (count, 28, 28), np.uint8)))
        run = call(work, "reader", "x.npy", "--csv")
        assert run.stdout.count(b"\n") == count + 1
        peaks.append(int(run.stderr.split()[0]))
    assert peaks[1] - peaks[0] < 30_000


def test_closed_pipe(work: Path) -> None:
    """`inkflow predict ... | head -1` ends without a traceback."""
    (work / "x.npy").write_bytes(npy(np.repeat(template(7)[None].astype(np.uint8), 30_000, axis=0)))
    line = f"{sys.executable} -m flows predict reader x.npy | head -1"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(line, shell=True, cwd=work, env=environment, capture_output=True, timeout=600)
    assert (run.stdout.count(b"\n"), run.stderr) == (1, b"")


@pytest.mark.cases(2)
@pytest.mark.parametrize(("count", "form"), [(1, "--csv"), (3000, "--json"), (1, "--json"), (3000, "--csv")])
def test_full_device(work: Path, count: int, form: str) -> None:
    """Standard output on a full device, at the first or at the last line, gives one sentence and exit code 1."""
    (work / "x.npy").write_bytes(npy(np.repeat(template(7)[None].astype(np.uint8), count, axis=0)))
    command = [sys.executable, "-m", "flows", "predict", "reader", "x.npy", form]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            command,
            cwd=work,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=600,
        )
    message = b"error: cannot write standard output: No space left on device; free disk space, then run again\n"
    assert (run.returncode, run.stderr) == (1, message)


def test_standard_input_that_cannot_be_read(work: Path) -> None:
    """An error while standard input is read refuses that input, and is not taken for one of standard output."""
    run = shell(work, "predict reader - 0> written")  # which opens it for writing alone
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr == b"error: -: cannot be read (Bad file descriptor)\n"


def test_standard_input_that_cannot_be_copied(work: Path) -> None:
    """A disk without room for the copy of standard input is named, not standard output."""
    (work / "x.npy").write_bytes(npy(np.zeros((100, 28, 28), np.uint8)))
    run = shell(work, "predict reader - < x.npy > answers.txt", limit="ulimit -f 1")  # of 1 KiB, that of a file
    assert run.returncode == 1
    assert run.stderr.startswith(b"error: cannot write a copy of standard input to ")
    assert run.stderr.endswith(b": File too large; raise the limit on the size of files (ulimit -f), then run again\n")


def shell(work: Path, line: str, limit: str = "true") -> subprocess.CompletedProcess[bytes]:
    """Runs `inkflow LINE` in a shell."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = f"{limit}; {sys.executable} -m flows {line}"
    return subprocess.run(["bash", "-c", command], cwd=work, env=environment, capture_output=True, timeout=600)


def test_help_is_light(work: Path) -> None:
    """`inkflow predict --help` and `inkflow export --help` do not import NumPy."""
    code = (
        "import sys\nfrom flows.cli.main import main\ntry: main(sys.argv[1:])\nfinally: print('numpy' in sys.modules)"
    )
    for verb in ("predict", "export"):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, verb, "--help"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert "MODEL" in run.stdout
        assert run.stdout.endswith("False\n")
