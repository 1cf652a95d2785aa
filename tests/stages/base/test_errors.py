"""Messages of output errors, and their remedies."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stages.base.errors import OutputError
from stages.base.files import write_text
from tests.support.root import ROOT


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("folder", "Is a directory; the path is a folder: choose a file in it"),
        ("file/x.txt", "File exists; a part of the path is a file: choose another path"),
        ("x" * 300, "File name too long; choose a shorter name"),
        ("/proc/x.txt", "No such file or directory; choose another path"),
    ],
)
def test_output_error_has_a_suitable_remedy(tmp_path: Path, path: str, remedy: str) -> None:
    """The remedy of an output error depends on its cause."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / path, "text")
    assert str(caught.value) == f"cannot write {tmp_path / path}: {remedy}"


def test_output_above_a_size_limit(tmp_path: Path) -> None:
    """A write above the file size limit keeps the earlier file, and the error names the limit."""
    (tmp_path / "x.txt").write_text("earlier")
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom stages.base.errors import exit_with\n"
        "from stages.base.files import write_text\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.exit(exit_with(lambda: write_text(Path('x.txt'), 'a' * 100_000)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "error: cannot write x.txt: File too large; raise the limit on the size of files (ulimit -f), then run again\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "earlier"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("bytearray(1 << 46)", "there is not enough memory; close other programs or raise the limit on memory"),
        ("[open(os.devnull) for _ in range(99)]", "/dev/null: Too many open files; close other programs or raise the"),
        ("Path('x').write_bytes(bytes(99_999))", "File too large; raise the limit on the size of files"),
        ("[Thread(target=time.sleep, args=[9], daemon=True).start() for _ in range(99)]", "no thread can be started;"),
    ],
)
def test_faults_of_the_machine(tmp_path: Path, statement: str, message: str) -> None:
    """Errors that any line can meet end a program with one sentence and the exit code 1."""
    code = (
        "import os, resource, signal, sys, time\nfrom pathlib import Path\nfrom threading import Thread\n"
        "from stages.base.errors import exit_with\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limits = {'AS': 1 << 30, 'NOFILE': 50, 'FSIZE': 50_000}\n"
        "[resource.setrlimit(getattr(resource, f'RLIMIT_{name}'), (value, value)) for name, value in limits.items()]\n"
        f"sys.exit(exit_with(lambda: {statement}))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "import threading; threading.stack_size(1 << 26)\n" + code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
